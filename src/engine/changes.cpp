/*
 * changes.cpp: triggers that tell the engine what others write.
 *
 * All of them are ENABLE ALWAYS, so that they also see what logical replication
 * applies; the engine's own writes go around them.
 */
#include "engine/changes.hpp"

#include "engine/events.hpp"

namespace skene
{

namespace
{

bool engine_writes = false;

/* Raise unless called as a trigger. */
TriggerData *
trigger_data(FunctionCallInfo fcinfo)
{
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("function must be called as a trigger")));
    return reinterpret_cast<TriggerData *>(fcinfo->context);
}

/* Put down that a customer's row in column user_id changed. */
void
note_customer_of(HeapTuple tuple, TupleDesc descriptor)
{
    int column = SPI_fnumber(descriptor, "user_id");
    char *user_id = column > 0 ? SPI_getvalue(tuple, descriptor, column) : nullptr;
    if (user_id)
        note_customer_change(hash_customer(user_id));
}

/* The row a BEFORE ROW trigger lets pass. */
HeapTuple
passed_row(const TriggerData *data)
{
    return TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;
}

} // namespace

bool
let_engine_write(bool allowed)
{
    bool before = engine_writes;
    engine_writes = allowed;
    return before;
}

/* AFTER ROW on tables of one customer's rows: what is resolved for it may differ. */
SKENE_FUNCTION(skene_note_customer_change)
{
    TriggerData *data = trigger_data(fcinfo);
    TupleDesc descriptor = RelationGetDescr(data->tg_relation);

    require_preload();
    if (!TRIGGER_FIRED_FOR_ROW(data->tg_event)) {
        note_configuration_change(); /* TRUNCATE: any customer */
        return PointerGetDatum(nullptr);
    }
    note_customer_of(data->tg_trigtuple, descriptor);
    if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
        note_customer_of(data->tg_newtuple, descriptor);
    return PointerGetDatum(nullptr);
}

/* AFTER on tables of the configuration: what is resolved for anybody may differ. */
SKENE_FUNCTION(skene_note_configuration_change)
{
    (void) trigger_data(fcinfo);
    require_preload();
    note_configuration_change();
    return PointerGetDatum(nullptr);
}

/*
 * BEFORE on skene.usage and skene.usage_events, for writes that are not the engine's:
 * wait until nobody has usage in flight, let nobody count before this transaction ends,
 * and have every counter read anew after it.
 */
SKENE_FUNCTION(skene_guard_usage)
{
    TriggerData *data = trigger_data(fcinfo);

    require_preload();
    if (!engine_writes) {
        /* again for each row: a rollback to a savepoint may have released the lock */
        LockRelationOid(events_relation(), ShareRowExclusiveLock);
        note_usage_change();
    }
    if (!TRIGGER_FIRED_FOR_ROW(data->tg_event))
        return PointerGetDatum(nullptr);
    return PointerGetDatum(passed_row(data));
}

} // namespace skene
