/*
 * text.hpp: strings across the boundary between the server and the core, and their hash.
 */
#pragma once

#include "server/prelude.hpp"

#include "core/bytes.hpp"

#include <string_view>

namespace skene
{

/* A view of a detoasted text; valid as long as the text. */
inline std::string_view
view_of(const text *value)
{
    return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

/* Hash a string. */
inline uint32
hash_text(const char *text)
{
    return hash_bytes(reinterpret_cast<const unsigned char *>(text),
                      static_cast<int>(strlen(text)));
}

/*
 * Move a core result into the current memory context and free it; null when it
 * is empty. Frees before it can raise, so that nothing leaks.
 */
inline char *
take_string(Bytes *bytes)
{
    if (!bytes->data)
        return nullptr;
    auto *copy = static_cast<char *>(palloc_extended(bytes->size + 1, MCXT_ALLOC_NO_OOM));
    if (copy)
        memcpy(copy, bytes->data, bytes->size + 1);
    free_bytes(bytes);
    if (!copy)
        ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
    return copy;
}

} // namespace skene
