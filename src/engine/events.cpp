/*
 * events.cpp: inserting events through the table access method, reading sums with SQL.
 *
 * The insert goes around the executor, since it is the one write of every admitted
 * call. It fires no triggers: the guards on the table are for writes of others.
 */
#include "engine/events.hpp"

#include "server/clock.hpp"
#include "server/owner.hpp"

namespace skene
{

namespace
{

/* Columns of skene.usage_events. */
enum {
    column_user_id,
    column_feature,
    column_period,
    column_window_start,
    column_window_end,
    column_amount,
    column_more,
    column_anchor,
    column_created_at,
    column_count
};

Oid relation_oid = InvalidOid; /* forgotten when the relation changes */

void
forget_relation(Datum, Oid relation)
{
    if (relation == relation_oid || !OidIsValid(relation))
        relation_oid = InvalidOid;
}

/* The windows after the first one, as an array of skene.usage_window. */
Datum
more_windows(Relation events, const Portion *portions, int count)
{
    Oid array_type = TupleDescAttr(RelationGetDescr(events), column_more)->atttypid;
    Oid type = get_element_type(array_type);
    TupleDesc descriptor = lookup_rowtype_tupdesc(type, -1);
    auto *windows = static_cast<Datum *>(palloc(sizeof(Datum) * count));

    for (int i = 0; i < count; i++) {
        Datum values[] = {CStringGetTextDatum(portions[i].rule->period),
                          TimestampTzGetDatum(portions[i].rule->start),
                          TimestampTzGetDatum(portions[i].rule->end),
                          Int64GetDatum(portions[i].amount)};
        bool nulls[lengthof(values)] = {};
        windows[i] = HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
    }
    ReleaseTupleDesc(descriptor);
    return PointerGetDatum(construct_array(windows, count, type, -1, false, TYPALIGN_DOUBLE));
}

} // namespace

Oid
events_relation()
{
    static bool watching = false;

    if (likely(OidIsValid(relation_oid)))
        return relation_oid;
    if (!watching) {
        CacheRegisterRelcacheCallback(forget_relation, (Datum) 0);
        watching = true;
    }
    Oid schema = get_namespace_oid("skene", false);
    Oid found = get_relname_relid("usage_events", schema);
    if (!OidIsValid(found))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation \"skene.usage_events\" does not exist"),
                        errhint("Drop and create the extension skene_gate.")));
    relation_oid = found;
    return found;
}

void
lock_events(Oid relation)
{
    LockRelationOid(relation, RowExclusiveLock);
}

void
insert_event(Oid relation, const char *user_id, const char *feature, const Portion *portions,
             int count, TimestampTz anchor)
{
    Datum values[column_count];
    bool nulls[column_count] = {};

    Relation events = table_open(relation, NoLock);
    if (RelationGetDescr(events)->natts != column_count)
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("table skene.usage_events is not the one this library writes"),
                        errhint("Run ALTER EXTENSION skene_gate UPDATE.")));
    values[column_user_id] = CStringGetTextDatum(user_id);
    values[column_feature] = CStringGetTextDatum(feature);
    values[column_period] = CStringGetTextDatum(portions[0].rule->period);
    values[column_window_start] = TimestampTzGetDatum(portions[0].rule->start);
    values[column_window_end] = TimestampTzGetDatum(portions[0].rule->end);
    values[column_amount] = Int64GetDatum(portions[0].amount);
    nulls[column_more] = count == 1;
    if (count > 1)
        values[column_more] = more_windows(events, portions + 1, count - 1);
    nulls[column_anchor] = TIMESTAMP_NOT_FINITE(anchor);
    values[column_anchor] = TimestampTzGetDatum(anchor);
    values[column_created_at] = TimestampTzGetDatum(gate_time());

    EState *estate = CreateExecutorState();
    ResultRelInfo *target = makeNode(ResultRelInfo);
    InitResultRelInfo(target, events, 1, nullptr, 0);
    ExecOpenIndices(target, false);
    TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(events), &TTSOpsHeapTuple);
    ExecStoreHeapTuple(heap_form_tuple(RelationGetDescr(events), values, nulls), slot, false);
    table_tuple_insert(events, slot, GetCurrentCommandId(true), 0, nullptr);
    SKENE_INJECTION_POINT("inserted");
    insert_index_tuples(target, slot, estate);
    ExecCloseIndices(target);
    ExecDropSingleTupleTableSlot(slot);
    FreeExecutorState(estate);
    table_close(events, NoLock);
}

Snapshot
latest_snapshot()
{
    CommandCounterIncrement();
    return GetLatestSnapshot();
}

int64
read_units(const char *user_id, const char *feature, const Rule &rule, Snapshot snapshot)
{
    static SPIPlanPtr plan = nullptr;
    const Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID};
    Datum values[] = {CStringGetTextDatum(user_id), CStringGetTextDatum(feature),
                      CStringGetTextDatum(rule.period), TimestampTzGetDatum(rule.start)};

    run_prepared(&plan, R"sql(
SELECT t.used FROM skene.usage_totals t
 WHERE t.user_id = $1 AND t.feature = $2 AND t.period = $3 AND t.window_start = $4)sql",
                 4, types, values, nullptr, snapshot, true, SPI_OK_SELECT);
    return SPI_processed == 0 ? 0 : int64_column(1, 0);
}

} // namespace skene
