/*
 * extension.cpp: looking the extension up in pg_extension.
 */
#include "worker/extension.hpp"

namespace skene
{

namespace
{

/* SQL versions that this library works with. */
constexpr const char *sql_version = "1.0";

/* Read our row of pg_extension; false when there is none. */
bool
read_extension(Extension *extension)
{
    ScanKeyData key;
    bool is_null;

    Relation relation = table_open(ExtensionRelationId, AccessShareLock);
    ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
                CStringGetDatum("skene_gate"));
    SysScanDesc scan =
        systable_beginscan(relation, ExtensionNameIndexId, true, nullptr, 1, &key);
    HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple)) {
        auto *row = reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple));
        Datum version = heap_getattr(tuple, Anum_pg_extension_extversion,
                                     RelationGetDescr(relation), &is_null);
        extension->oid = row->oid;
        extension->owner = row->extowner;
        extension->version_matches =
            !is_null && strcmp(TextDatumGetCString(version), sql_version) == 0;
    }
    systable_endscan(scan);
    table_close(relation, AccessShareLock);
    return HeapTupleIsValid(tuple);
}

} // namespace

bool
lock_extension(Extension *extension)
{
    if (!read_extension(extension))
        return false;
    LockDatabaseObject(ExtensionRelationId, extension->oid, 0, AccessShareLock);
    /* it may have gone while we waited for the lock */
    Oid locked = extension->oid;
    return read_extension(extension) && extension->oid == locked;
}

} // namespace skene
