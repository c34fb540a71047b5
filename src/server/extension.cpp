/*
 * extension.cpp: comparing the version of the SQL objects with what the library
 * works with.
 */
#include "server/extension.hpp"

#include "server/shared.hpp"

namespace skene
{

namespace
{

/* The versions of the SQL objects that this library works with, oldest first. */
#ifndef SKENE_SQL_VERSIONS
#define SKENE_SQL_VERSIONS "1.0"
#endif
constexpr const char *sql_versions[] = {SKENE_SQL_VERSIONS};

/* Did this session find that the versions fit? */
bool known_to_fit = false;
bool watching = false;

/* Are SQL objects of this version made for a newer library? */
bool
is_newer(const char *version)
{
    return strverscmp(version, sql_versions[lengthof(sql_versions) - 1]) > 0;
}

/* pg_extension has no syscache to watch; forget_version() uses its relcache entry. */
void
on_relcache_change(Datum, Oid relation)
{
    if (relation == ExtensionRelationId || relation == InvalidOid)
        known_to_fit = false;
}

} // namespace

bool
read_extension(Extension *extension)
{
    ScanKeyData key;
    bool is_null;

    Relation relation = table_open(ExtensionRelationId, AccessShareLock);
    ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
                CStringGetDatum("skene_gate"));
    SysScanDesc scan = systable_beginscan(relation, ExtensionNameIndexId, true, nullptr, 1, &key);
    HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple)) {
        auto *row = reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple));
        Datum version =
            heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(relation), &is_null);
        extension->oid = row->oid;
        extension->owner = row->extowner;
        strlcpy(extension->version, is_null ? "" : TextDatumGetCString(version),
                sizeof(extension->version));
    }
    systable_endscan(scan);
    table_close(relation, AccessShareLock);
    return HeapTupleIsValid(tuple);
}

bool
supports_version(const char *version)
{
    for (const char *supported : sql_versions) {
        if (strcmp(version, supported) == 0)
            return true;
    }
    return false;
}

char *
describe_version(const char *version)
{
    StringInfoData text;

    initStringInfo(&text);
    appendStringInfo(&text, "SQL objects of skene_gate are of version %s, its library works with",
                     version);
    for (const char *supported : sql_versions)
        appendStringInfo(&text, "%s %s", supported == sql_versions[0] ? "" : ",", supported);
    return text.data;
}

void
report_version(int elevel, const char *version)
{
    ereport(elevel, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                     errmsg("%s", describe_version(version)),
                     is_newer(version)
                         ? errhint("Restart the server with the library of version %s.", version)
                         : errhint("Run ALTER EXTENSION skene_gate UPDATE.")));
}

void
require_extension()
{
    Extension extension;

    if (likely(known_to_fit))
        return;
    require_preload();
    if (!watching) {
        CacheRegisterRelcacheCallback(on_relcache_change, (Datum) 0);
        watching = true;
    }
    if (!read_extension(&extension))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
                        errmsg("extension \"skene_gate\" does not exist")));
    if (!supports_version(extension.version))
        report_version(ERROR, extension.version);
    known_to_fit = true;
}

void
forget_version()
{
    CacheInvalidateRelcacheByRelid(ExtensionRelationId);
}

/*
 * The first statement of every install and update script: pg_extension has the
 * version that it makes. An older library, loaded before its package was replaced,
 * would leave the database without a gate until the restart.
 */
SKENE_FUNCTION(skene_check_library)
{
    Extension extension;

    require_preload();
    forget_version();
    if (read_extension(&extension) && is_newer(extension.version))
        report_version(ERROR, extension.version);
    PG_RETURN_VOID();
}

} // namespace skene
