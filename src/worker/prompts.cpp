/*
 * prompts.cpp: writing prompts.
 *
 * Each note is written in its own subtransaction, so that one that cannot be
 * written holds up no other. Taken notes stay in a static until their commit, so
 * that an error can put them back.
 */
#include "worker/prompts.hpp"

#include "gate/denials.hpp"
#include "server/work.hpp"

namespace skene
{

namespace
{

constexpr int batch_size = 64;

TakenDenials taken[batch_size];
int taken_count = 0;

void
write_one(const TakenDenials &denials)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
                         TEXTOID, TEXTOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID};
    Datum values[] = {CStringGetTextDatum(denials.key.user_id),
                      CStringGetTextDatum(denials.key.feature),
                      CStringGetTextDatum(denials.key.period),
                      TimestampTzGetDatum(denials.key.window_start),
                      TimestampTzGetDatum(denials.window_end),
                      CStringGetTextDatum(denial_kind_name(denials.key.kind)),
                      CStringGetTextDatum(denials.plan),
                      Int64GetDatum(static_cast<int64>(denials.count)),
                      TimestampTzGetDatum(denials.first_at),
                      TimestampTzGetDatum(denials.last_at)};

    run_prepared(&plan,
                 "SELECT skene.write_prompt($1, $2, $3, $4, $5, $6, nullif($7, ''), $8, $9, $10)",
                 10, types, values, nullptr, InvalidSnapshot, false, SPI_OK_SELECT);
}

/* Write one note in a subtransaction; a failure is logged and its denials are lost. */
void
write_guarded(const TakenDenials &denials)
{
    MemoryContext context = CurrentMemoryContext;
    ResourceOwner owner = CurrentResourceOwner;

    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(context);
    PG_TRY();
    {
        write_one(denials);
        ReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(context);
        CurrentResourceOwner = owner;
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        ErrorData *error = CopyErrorData();
        FlushErrorState();
        RollbackAndReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(context);
        CurrentResourceOwner = owner;
        /* an interrupt or a shutdown is not this note's fault */
        if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
            error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
            ReThrowError(error);
        report_error(error->message);
        pg_atomic_fetch_add_u64(&shared->notes_lost, static_cast<int64>(denials.count));
        ereport(WARNING, (errmsg("skene_gate could not write a prompt: %s", error->message)));
        FreeErrorData(error);
    }
    PG_END_TRY();
}

} // namespace

void
write_prompts()
{
    WorkScope scope;

    for (;;) {
        taken_count = take_denials(MyDatabaseId, GetCurrentTimestamp(), taken, batch_size);
        if (taken_count == 0)
            return;
        int count = taken_count;
        begin_work(&scope);
        for (int i = 0; i < count; i++)
            write_guarded(taken[i]);
        end_work(&scope);
        taken_count = 0;
        CHECK_FOR_INTERRUPTS();
        if (count < batch_size)
            return;
    }
}

void
return_unwritten_prompts()
{
    for (int i = 0; i < taken_count; i++)
        return_denials(taken[i]);
    taken_count = 0;
}

} // namespace skene
