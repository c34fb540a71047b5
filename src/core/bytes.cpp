/*
 * bytes.cpp: malloc-backed Bytes.
 */
#include "core/bytes.hpp"

#include <cstdlib>
#include <cstring>

namespace skene
{

bool
copy_bytes(std::string_view text, Bytes *out) noexcept
{
    out->size = 0;
    out->data = static_cast<char *>(std::malloc(text.size() + 1));
    if (!out->data)
        return false;
    std::memcpy(out->data, text.data(), text.size());
    out->data[text.size()] = '\0';
    out->size = text.size();
    return true;
}

void
free_bytes(Bytes *bytes) noexcept
{
    std::free(bytes->data);
    *bytes = Bytes{};
}

} // namespace skene
