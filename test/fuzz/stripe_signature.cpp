/*
 * stripe_signature.cpp: fuzz target of verify_stripe_signature().
 *
 * Input: header, secrets, payload. Nobody guesses an HMAC, so what the fuzzer writes
 * is never valid; what is signed here is, whatever else stands in the header.
 */
#include "core/signature.hpp"

#include "fuzz.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

using namespace skene;

namespace
{

constexpr int64_t now = 1767225600;
constexpr int64_t tolerance = 300;
constexpr std::string_view secret = "whsec_known_to_the_target_only";

std::string
signature_of(std::string_view time, std::string_view payload)
{
    std::string text = std::string(time) + "." + std::string(payload);
    unsigned char digest[32];
    HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
         reinterpret_cast<const unsigned char *>(text.data()), text.size(), digest, nullptr);
    std::string hex;
    for (unsigned char byte : digest) {
        hex += "0123456789abcdef"[byte >> 4];
        hex += "0123456789abcdef"[byte & 15];
    }
    return hex;
}

SignatureVerdict
verify(std::string_view payload, const std::string &header, std::string_view secrets)
{
    return verify_stripe_signature(payload, header, secrets, now, tolerance);
}

} // namespace

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    auto [header, secrets, payload] = fuzz::split<3>(fuzz::as_text(data, size));
    std::string noise(header);
    std::string known = std::string(secrets) + "\n" + std::string(secret) + "\n";

    require(verify(payload, noise, "") == SignatureVerdict::no_secret);
    require(verify(payload, noise, secret) != SignatureVerdict::valid);

    std::string good = signature_of("1767225600", payload);
    require(verify(payload, "t=1767225600,v1=" + good, known) == SignatureVerdict::valid);
    require(verify(payload, "t=1767225600,v0=" + good, known) ==
            SignatureVerdict::malformed_header);
    require(verify(std::string(payload) + " ", "t=1767225600,v1=" + good, known) ==
            SignatureVerdict::mismatch);
    std::string old = signature_of("1767225299", payload);
    require(verify(payload, "t=1767225299,v1=" + old, known) == SignatureVerdict::too_old);

    /* with anything behind it: a second time makes the header malformed, nothing else does */
    SignatureVerdict verdict = verify(payload, "t=1767225600,v1=" + good + "," + noise, known);
    require(verdict == SignatureVerdict::valid ||
            (verdict == SignatureVerdict::malformed_header &&
             (noise.find("t=") != noise.npos || noise == "t" || noise.find(",t") != noise.npos ||
              noise.starts_with("t,") || noise.size() > 3900)));
    return 0;
}
