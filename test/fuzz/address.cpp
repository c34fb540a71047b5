/*
 * address.cpp: fuzz target of valid_address().
 */
#include "core/email.hpp"

#include "fuzz.hpp"

#include <algorithm>

using namespace skene;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    std::string address(fuzz::as_text(data, size));
    std::string upper = address;
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](char c) { return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c; });

    bool valid = valid_address(address);
    require(valid == valid_address(upper));
    require(!valid_address(address + "\r\nBcc: zoe@example.com"));
    require(!valid_address("<" + address + ">"));
    require(!valid_address(address + ",zoe@example.com"));
    if (!valid)
        return 0;

    require(address.size() <= 254);
    require(std::count(address.begin(), address.end(), '@') == 1);
    require(address.find_first_of(" ,;:<>()[]\\\"") == address.npos);
    require(
        std::all_of(address.begin(), address.end(), [](char c) { return c > ' ' && c < 0x7F; }));

    EmailRequest request;
    request.from = address;
    request.to = address;
    request.subject = "Hello";
    request.text = "Hello";
    EmailResult result;
    render_email(request, &result);
    require(result.ok);
    free_bytes(&result.body);
    return 0;
}
