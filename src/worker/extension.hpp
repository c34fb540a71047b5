/*
 * extension.hpp: does this database have the extension, and is it ours?
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

struct Extension {
    Oid oid;
    Oid owner;
    bool version_matches; /* the SQL objects are the ones this library was made with */
};

/*
 * Find the extension and lock it against DROP until the end of the transaction;
 * false when it is not there.
 */
bool lock_extension(Extension *extension);

} // namespace skene
