/*
 * prompts.cpp: writing prompts.
 *
 * Each note is written in its own subtransaction, so that one that cannot be
 * written holds up no other. Taken notes stay in a static until their commit, so
 * that an error can put them back.
 */
#include "worker/prompts.hpp"

#include "gate/denials.hpp"
#include "server/clock.hpp"
#include "server/work.hpp"

namespace skene
{

namespace
{

constexpr int batch_size = 64;

TakenDenials taken[batch_size];
int taken_count = 0;

/* What became of a note. */
enum class Outcome : uint8 {
    done,    /* written, or lost and reported */
    unknown, /* the customer is not to be seen */
    locked,  /* somebody has the prompt locked */
};

/* Write one note into its prompt. */
Outcome
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
                 "SELECT w, w IS NULL FROM skene.write_prompt($1, $2, $3, $4, $5, $6, "
                 "nullif($7, ''), $8, $9, $10) AS w",
                 10, types, values, nullptr, InvalidSnapshot, false, SPI_OK_SELECT);
    return bool_column(1) ? Outcome::done : bool_column(2) ? Outcome::unknown : Outcome::locked;
}

struct Writing {
    const TakenDenials *denials;
    Outcome *outcome;
};

void
write_step(const void *argument)
{
    auto *writing = static_cast<const Writing *>(argument);
    *writing->outcome = write_one(*writing->denials);
}

/*
 * Write one note in a subtransaction. An error that is the note's own is logged and its
 * denials are lost; after any other one the whole batch is put back.
 */
Outcome
write_guarded(const TakenDenials &denials)
{
    Outcome outcome = Outcome::done;
    Writing writing = {&denials, &outcome};
    ErrorData *error = run_guarded(write_step, &writing);
    if (!error)
        return outcome;
    if (may_pass(error->sqlerrcode))
        ReThrowError(error);
    report_error(error->message);
    pg_atomic_fetch_add_u64(&shared->notes_lost, static_cast<int64>(denials.count));
    ereport(WARNING, (errmsg("skene_gate could not write a prompt: %s", error->message)));
    FreeErrorData(error);
    return Outcome::done;
}

} // namespace

void
lock_prompts()
{
    static SPIPlanPtr plan = nullptr;

    run_prepared(&plan, "LOCK TABLE skene.prompts IN ROW EXCLUSIVE MODE", 0, nullptr, nullptr,
                 nullptr, InvalidSnapshot, false, SPI_OK_UTILITY);
}

void
write_prompts()
{
    TimestampTz now = gate_time();
    int count;

    do {
        WorkScope scope;
        Outcome outcomes[batch_size];

        CHECK_FOR_INTERRUPTS();
        begin_work(&scope);
        lock_prompts();
        count = taken_count = take_denials(MyDatabaseId, now, taken, batch_size);
        for (int i = 0; i < count; i++)
            outcomes[i] = write_guarded(taken[i]);
        end_work(&scope);
        taken_count = 0;
        for (int i = 0; i < count; i++) {
            if (outcomes[i] == Outcome::locked)
                taken[i].unknown_since = 0; /* a lock is no reason to give up */
            if (outcomes[i] != Outcome::done)
                put_off_denials(taken[i], now);
        }
    } while (count == batch_size);
}

void
return_unwritten_prompts()
{
    for (int i = 0; i < taken_count; i++)
        return_denials(taken[i]);
    taken_count = 0;
}

} // namespace skene
