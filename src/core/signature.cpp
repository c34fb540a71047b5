/*
 * signature.cpp: webhook signatures, checked with OpenSSL's HMAC.
 *
 * Invariant: nothing an attacker sends can cost more than one HMAC per configured
 * secret and a bounded number of comparisons, and an empty secret never counts:
 * anyone could sign with it.
 */
#include "core/signature.hpp"

#include "core/characters.hpp"
#include "core/plain_text.hpp"

#include <memory>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

namespace skene
{

namespace
{

constexpr size_t max_header_bytes = 4096;
constexpr size_t max_signatures = 16; /* of one header; a rolled secret makes two */
constexpr size_t max_time_digits = 12;
constexpr size_t digest_bytes = 32;

struct StripeHeader {
    std::string_view time_digits; /* as they were signed */
    int64_t time = 0;
    std::string_view signatures[max_signatures];
    size_t signature_count = 0;
};

struct MacDeleter {
    void
    operator()(EVP_MAC *mac) const
    {
        EVP_MAC_free(mac);
    }
    void
    operator()(EVP_MAC_CTX *context) const
    {
        EVP_MAC_CTX_free(context);
    }
};

/* Take text up to the separator off rest. */
std::string_view
take_until(std::string_view *rest, char separator)
{
    size_t end = rest->find(separator);
    std::string_view text = rest->substr(0, end);
    rest->remove_prefix(end == rest->npos ? rest->size() : end + 1);
    return text;
}

/* Take the next secret off the lines; empty when none is left. */
std::string_view
next_secret(std::string_view *lines)
{
    while (!lines->empty()) {
        std::string_view secret = trim(take_until(lines, '\n'));
        if (!secret.empty() && secret[0] != '#')
            return secret;
    }
    return {};
}

/* Read plain digits; no sign, no blank, nothing that could overflow. */
bool
read_time(std::string_view digits, int64_t *time)
{
    if (digits.empty() || digits.size() > max_time_digits)
        return false;
    *time = 0;
    for (char digit : digits) {
        if (!is_digit(digit))
            return false;
        *time = *time * 10 + (digit - '0');
    }
    return true;
}

/*
 * Read "t=…,v1=…,v1=…". Other schemes are skipped: v0 is Stripe's test scheme, and
 * honouring it would let anyone choose the weaker one.
 */
bool
read_stripe_header(std::string_view text, StripeHeader *header)
{
    if (text.size() > max_header_bytes)
        return false;
    while (!text.empty()) {
        std::string_view value = take_until(&text, ',');
        std::string_view key = take_until(&value, '=');
        if (key == "t") {
            if (!header->time_digits.empty() || !read_time(value, &header->time))
                return false;
            header->time_digits = value;
        } else if (key == "v1" && header->signature_count < max_signatures) {
            header->signatures[header->signature_count++] = value;
        }
    }
    return !header->time_digits.empty() && header->signature_count > 0;
}

bool
update(EVP_MAC_CTX *context, std::string_view text)
{
    return EVP_MAC_update(context, reinterpret_cast<const unsigned char *>(text.data()),
                          text.size()) == 1;
}

/* HMAC-SHA256 of left, "." and right, without copying the payload; false when OpenSSL fails. */
bool
sign_pair(EVP_MAC *hmac, std::string_view key, std::string_view left, std::string_view right,
          unsigned char *digest)
{
    std::unique_ptr<EVP_MAC_CTX, MacDeleter> context(EVP_MAC_CTX_new(hmac));
    char name[] = "SHA256";
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                               OSSL_PARAM_construct_end()};
    size_t size = 0;
    return context &&
           EVP_MAC_init(context.get(), reinterpret_cast<const unsigned char *>(key.data()),
                        key.size(), parameters) == 1 &&
           update(context.get(), left) && update(context.get(), ".") &&
           update(context.get(), right) &&
           EVP_MAC_final(context.get(), digest, &size, digest_bytes) == 1 && size == digest_bytes;
}

void
write_hex(const unsigned char *bytes, size_t size, char *hex)
{
    for (size_t i = 0; i < size; i++) {
        hex[2 * i] = "0123456789abcdef"[bytes[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    }
}

/* Comparing the texts, not what they decode to, refuses upper-case hex as Stripe does. */
bool
any_equals(const StripeHeader &header, std::string_view expected)
{
    bool found = false;
    for (size_t i = 0; i < header.signature_count; i++) {
        std::string_view given = header.signatures[i];
        if (given.size() == expected.size() &&
            CRYPTO_memcmp(given.data(), expected.data(), expected.size()) == 0)
            found = true;
    }
    return found;
}

SignatureVerdict
check_age(int64_t time, int64_t now, int64_t tolerance)
{
    int64_t age;
    if (__builtin_sub_overflow(now, time, &age))
        age = INT64_MIN; /* time is not negative, so only a now far below zero overflows */
    if (tolerance < 0)
        tolerance = 0;
    if (age > tolerance)
        return SignatureVerdict::too_old;
    return age < -tolerance ? SignatureVerdict::in_future : SignatureVerdict::valid;
}

} // namespace

SignatureVerdict
verify_stripe_signature(std::string_view payload, std::string_view header, std::string_view secrets,
                        int64_t now, int64_t tolerance) noexcept
{
    std::string_view secret = next_secret(&secrets);
    if (secret.empty())
        return SignatureVerdict::no_secret;
    StripeHeader parsed;
    if (!read_stripe_header(header, &parsed))
        return SignatureVerdict::malformed_header;

    std::unique_ptr<EVP_MAC, MacDeleter> hmac(EVP_MAC_fetch(nullptr, "HMAC", nullptr));
    if (!hmac)
        return SignatureVerdict::out_of_memory;
    for (; !secret.empty(); secret = next_secret(&secrets)) {
        unsigned char digest[digest_bytes];
        char hex[2 * digest_bytes];
        if (!sign_pair(hmac.get(), secret, parsed.time_digits, payload, digest))
            return SignatureVerdict::out_of_memory;
        write_hex(digest, digest_bytes, hex);
        /* age comes last: whether a clock is wrong is no stranger's business */
        if (any_equals(parsed, {hex, sizeof hex}))
            return check_age(parsed.time, now, tolerance);
    }
    return SignatureVerdict::mismatch;
}

} // namespace skene
