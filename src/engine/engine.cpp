/*
 * engine.cpp: the engine's shared memory, and what it does when transactions end.
 *
 * At commit the callbacks run after the transaction has left the list of running ones
 * and before its locks are released. So whoever waited for it finds its reservations
 * settled, and a snapshot taken after them sees its rows. They only use atomics: at
 * that point an error would bring the server down.
 */
#include "engine/engine.hpp"

#include "engine/anchors.hpp"
#include "engine/meters.hpp"
#include "server/shared.hpp"

namespace skene
{

namespace
{

/* Refuse PREPARE TRANSACTION: COMMIT PREPARED, perhaps elsewhere, settles nothing. */
void
refuse_prepare()
{
    if (!has_holds() && !anything_changed_here())
        return;
    ereport(ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             has_holds() ? errmsg("cannot PREPARE a transaction that has counted usage")
                         : errmsg("cannot PREPARE a transaction that has changed plans or usage"),
             errhint("Commit this part of the work in a transaction of its own.")));
}

void
at_transaction_end(XactEvent event, void *)
{
    switch (event) {
    case XACT_EVENT_PRE_PREPARE:
        refuse_prepare();
        break;
    case XACT_EVENT_COMMIT:
        if (has_holds() || usage_changed_here()) {
            settle_holds(true);
            WorkerSlot *slot = find_slot(MyDatabaseId);
            if (slot)
                wake_worker(slot, wake_fold);
        }
        release_anchors();
        publish_changes();
        break;
    case XACT_EVENT_ABORT:
        settle_holds(false);
        release_anchors();
        forget_changes();
        break;
    default:
        break;
    }
}

void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *)
{
    if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
        return;
    bool committed = event == SUBXACT_EVENT_COMMIT_SUB;
    settle_holds_of_subtransaction(subid, parent, committed);
    end_subtransaction_of_changes(subid, parent, committed);
}

} // namespace

Size
engine_size()
{
    Size size = MAXALIGN(epochs_size());
    size = add_size(size, MAXALIGN(reservations_size()));
    size = add_size(size, MAXALIGN(meters_size()));
    return add_size(size, anchors_size());
}

int
engine_lock_count()
{
    return meter_lock_count() + 1;
}

void
initialize_engine(LWLockPadded *locks)
{
    bool found;
    void *memory = ShmemInitStruct("skene_gate epochs", epochs_size(), &found);
    initialize_epochs(found, memory);
    memory = ShmemInitStruct("skene_gate reservations", reservations_size(), &found);
    initialize_reservations(found, memory);
    memory = ShmemInitStruct("skene_gate meters", meters_size(), &found);
    initialize_meters(found, memory, locks + 1);
    initialize_anchors(&locks[0].lock);
}

void
watch_transactions()
{
    RegisterXactCallback(at_transaction_end, nullptr);
    RegisterSubXactCallback(at_subtransaction_end, nullptr);
}

} // namespace skene
