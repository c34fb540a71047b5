/*
 * work.hpp: short transactions of a worker on the extension's tables, and what
 * the worker shows of itself.
 */
#pragma once

#include "server/owner.hpp"
#include "server/shared.hpp"

namespace skene
{

struct WorkScope {
    MemoryContext context;
    OwnerScope owner;
};

/*
 * Begin a transaction as the extension's owner, connected to SPI, with the
 * extension locked against DROP. Ends the process when the extension is gone, or
 * its SQL objects are of a version that this library does not work with.
 */
void begin_work(WorkScope *scope);

/* Commit, and go back to the memory context that was current before. */
void end_work(WorkScope *scope);

/*
 * Run a step in a subtransaction of its own; null when it succeeded, else its error, to
 * be freed, or thrown on.
 */
ErrorData *run_guarded(void (*step)(const void *argument), const void *argument);

/* Has an error nothing to do with the step, which may succeed another time? */
bool may_pass(int sqlerrcode);

/* Shown in skene.worker_status. */
void set_worker_state(WorkerState state);
void report_success();
void report_error(const char *message);

} // namespace skene
