/*
 * init.cpp: loading of the library, and what the install script asks of it.
 *
 * _PG_init never raises: pg_upgrade loads the library without a preload.
 */
#include "gate/denials.hpp"
#include "server/shared.hpp"

#include "settings/settings.hpp"
#include "worker/barrier.hpp"
#include "worker/launcher.hpp"

extern "C" {
#pragma GCC visibility push(default)
PG_MODULE_MAGIC;
void _PG_init(void);
#pragma GCC visibility pop
}

void
_PG_init(void)
{
    using namespace skene;

    if (!process_shared_preload_libraries_in_progress)
        return;
    define_settings();
    request_shared_memory();
    install_barrier_hooks();
    if (!IsBinaryUpgrade)
        register_launcher();
}

namespace skene
{

SKENE_FUNCTION(skene_system_identifier)
{
    PG_RETURN_INT64(static_cast<int64>(GetSystemIdentifier()));
}

SKENE_FUNCTION(skene_database_oid)
{
    PG_RETURN_OID(MyDatabaseId);
}

SKENE_FUNCTION(skene_wake_worker)
{
    char *reason = text_to_cstring(PG_GETARG_TEXT_PP(0));

    require_preload();
    if (strcmp(reason, "install") == 0) {
        if (!claim_slot(MyDatabaseId))
            ereport(WARNING,
                    (errmsg("no worker will run for this database"),
                     errdetail("At most %d databases of a server have one.", max_databases)));
        rescan_at_commit(true);
        wake_at_commit(MyDatabaseId, wake_extension);
    } else {
        uint32 reasons = strcmp(reason, "address") == 0 ? wake_address
                         : strcmp(reason, "probe") == 0 ? wake_outbox | wake_probe
                                                        : wake_outbox;
        wake_at_commit(MyDatabaseId, reasons);
    }
    PG_RETURN_VOID();
}

SKENE_FUNCTION(skene_forget_denials)
{
    require_preload();
    forget_denials(MyDatabaseId, PG_ARGISNULL(0) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(0)));
    PG_RETURN_VOID();
}

} // namespace skene
