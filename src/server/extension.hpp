/*
 * extension.hpp: our row of pg_extension, and whether this library works with the
 * SQL objects that it stands for.
 *
 * Library and SQL objects change one after the other: packages first, then ALTER
 * EXTENSION UPDATE; and a standby may have an older package than its primary.
 * Invariant: where the two do not fit, nothing of ours touches a table. Functions
 * raise, the worker leaves, and both come back with what was missing.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

struct Extension {
    Oid oid;
    Oid owner;
    char version[NAMEDATALEN];
};

/* Read our row of pg_extension; false when there is none. */
bool read_extension(Extension *extension);

/* Does this library work with SQL objects of that version? */
bool supports_version(const char *version);

/* Report a version that does not fit, and what to do about it. */
void report_version(int elevel, const char *version);

/* What does not fit, in one line; palloc'ed. */
char *describe_version(const char *version);

/*
 * Raise 55000 unless the library was preloaded and fits. What was found is kept in
 * a static until an extension changes, so this costs next to nothing.
 */
void require_extension();

/* Tell all sessions, at commit, to look at pg_extension again. */
void forget_version();

} // namespace skene
