/*
 * worker.hpp: what the steps of the worker share: short transactions on the
 * extension's tables, and the worker's public state.
 */
#pragma once

#include "server/owner.hpp"

namespace skene
{

struct WorkScope {
    OwnerScope owner;
};

/*
 * Begin a transaction as the extension's owner, connected to SPI, with the
 * extension locked against DROP. Ends the process when the extension is gone.
 */
void begin_work(WorkScope *scope);
void end_work(WorkScope *scope);

/* Show in skene.worker_status. */
void report_success();
void report_error(const char *message);

} // namespace skene
