/*
 * waiting.cpp: a lock wait with a deadline of our own.
 */
#include "engine/waiting.hpp"

namespace skene
{

namespace
{

/* Wait under lock_timeout; false when it was the one to end the wait. */
bool
wait_under_timeout(TransactionId xid)
{
    MemoryContext context = CurrentMemoryContext;
    volatile bool ended = true;

    PG_TRY();
    {
        XactLockTableWait(xid, nullptr, nullptr, XLTW_None);
    }
    PG_CATCH();
    {
        if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
            PG_RE_THROW();
        MemoryContextSwitchTo(context);
        FlushErrorState();
        ended = false;
    }
    PG_END_TRY();
    return ended;
}

} // namespace

bool
wait_for_transaction(TransactionId xid, TimestampTz deadline)
{
    char timeout[32];
    long left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

    if (left <= 0)
        return false;
    /* a shorter lock_timeout of the caller's stays what it is, an error of its own */
    if (LockTimeout > 0 && LockTimeout <= left) {
        XactLockTableWait(xid, nullptr, nullptr, XLTW_None);
        return true;
    }
    int level = NewGUCNestLevel();
    snprintf(timeout, sizeof(timeout), "%ld", left);
    (void) set_config_option("lock_timeout", timeout, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
                             true, 0, false);
    bool ended = wait_under_timeout(xid);
    if (ended)
        AtEOXact_GUC(true, level);
    return ended;
}

} // namespace skene
