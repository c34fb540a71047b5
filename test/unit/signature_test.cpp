// signature_test.cpp: which webhook deliveries are believed.
#include "core/signature.hpp"

#include <gtest/gtest.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <ctime>
#include <fstream>
#include <iterator>
#include <string>

using namespace skene;

namespace skene
{

/* Readable failures instead of bytes. */
static void
PrintTo(SignatureVerdict verdict, std::ostream *out)
{
    constexpr const char *names[] = {"valid",   "no_secret", "malformed_header", "mismatch",
                                     "too_old", "in_future", "out_of_memory"};
    *out << names[static_cast<int>(verdict)];
}

} // namespace skene

namespace
{

constexpr int64_t signed_at = 1767225600;
const char *const secret = "whsec_test_skene_gate_0123456789abcdef";
const char *const good = "a08a9c759393c9d97f00731fbdc83f450d15007e3a9a430ebb03a8ef0a6ae8c3";
const char *const with_old_secret =
    "48237aab5ca1658323eaf271befd1586bf274ad8c80fceab88d0fd734767d66a";

/* The event that stripe-node signed. */
std::string
signed_event()
{
    std::ifstream file(SKENE_SOURCE_DIR "/test/unit/vectors/stripe_signed_event.json");
    return {std::istreambuf_iterator<char>(file), {}};
}

std::string
stripe_header(const std::string &signature)
{
    return "t=1767225600,v1=" + signature;
}

SignatureVerdict
verify(const std::string &header, const std::string &secrets = secret, int64_t now = signed_at,
       int64_t tolerance = 300)
{
    return verify_stripe_signature(signed_event(), header, secrets, now, tolerance);
}

/* A second way to the same digest, for what the vectors do not cover. */
std::string
sign(const std::string &key, const std::string &text)
{
    unsigned char digest[32];
    HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
         reinterpret_cast<const unsigned char *>(text.data()), text.size(), digest, nullptr);
    std::string hex;
    for (unsigned char byte : digest) {
        hex += "0123456789abcdef"[byte >> 4];
        hex += "0123456789abcdef"[byte & 15];
    }
    return hex;
}

} // namespace

TEST(StripeSignature, AcceptsWhatStripesOwnLibrarySigned)
{
    ASSERT_EQ(signed_event().size(), 222u);
    EXPECT_EQ(verify(stripe_header(good)), SignatureVerdict::valid);
}

TEST(StripeSignature, CoversTheRawBytesAlsoBeyondAscii)
{
    std::string payload = "{\"name\":\"Zo\xc3\xab \xe2\x98\x83\"}";
    std::string header =
        stripe_header("e2d121f49deb3a0968c8faec2348d1c254561172d0e592adb3a665b8fc9c24b4");
    EXPECT_EQ(verify_stripe_signature(payload, header, secret, signed_at, 300),
              SignatureVerdict::valid);
    EXPECT_EQ(verify_stripe_signature(payload + "\n", header, secret, signed_at, 300),
              SignatureVerdict::mismatch);
    std::string binary("\0\xff\r\n", 4);
    header = stripe_header(sign(secret, "1767225600." + binary));
    EXPECT_EQ(verify_stripe_signature(binary, header, secret, signed_at, 300),
              SignatureVerdict::valid);
    header = stripe_header(sign(secret, "1767225600."));
    EXPECT_EQ(verify_stripe_signature({}, header, secret, signed_at, 300), SignatureVerdict::valid);
}

TEST(StripeSignature, AcceptsEitherSecretWhileOneIsRolled)
{
    std::string header =
        stripe_header(with_old_secret) + ",v1=" + good + ",v0=00ff"; /* as Stripe sends it */
    EXPECT_EQ(verify(header), SignatureVerdict::valid);
    EXPECT_EQ(verify(header, "whsec_old_secret"), SignatureVerdict::valid);
    EXPECT_EQ(verify(header, "whsec_other"), SignatureVerdict::mismatch);
    /* and the other way round: two secrets here, one signature there */
    EXPECT_EQ(verify(stripe_header(good), std::string("whsec_old_secret\n") + secret),
              SignatureVerdict::valid);
}

TEST(StripeSignature, ReadsSecretsALineEach)
{
    std::string file = std::string("# production\r\n\r\n  whsec_new \r\n\t") + secret + " \r\n#x\n";
    EXPECT_EQ(verify(stripe_header(good), file), SignatureVerdict::valid);
    EXPECT_EQ(verify(stripe_header(good), std::string("#") + secret + "\nwhsec_new"),
              SignatureVerdict::mismatch);
    EXPECT_EQ(verify(stripe_header(good), std::string(secret) + "x"), SignatureVerdict::mismatch);
}

TEST(StripeSignature, RefusesToWorkWithoutASecret)
{
    for (const char *secrets : {"", " ", "\n", " \r\n\t\n", "# only a comment", "#"}) {
        /* what anyone could have signed */
        for (const std::string &key : {std::string(), std::string(secrets)}) {
            std::string header = stripe_header(sign(key, "1767225600." + signed_event()));
            EXPECT_EQ(verify(header, secrets), SignatureVerdict::no_secret) << secrets;
        }
    }
    /* a blank line between secrets is no empty secret either */
    EXPECT_EQ(verify(stripe_header(sign("", "1767225600." + signed_event())), "whsec_a\n\nwhsec_b"),
              SignatureVerdict::mismatch);
}

TEST(StripeSignature, RefusesADowngradeToAnotherScheme)
{
    EXPECT_EQ(verify(std::string("t=1767225600,v0=") + good), SignatureVerdict::malformed_header);
    EXPECT_EQ(verify(std::string("t=1767225600,v0=") + good + ",v1=" + with_old_secret),
              SignatureVerdict::mismatch);
    EXPECT_EQ(verify(std::string("t=1767225600,v1a=") + good), SignatureVerdict::malformed_header);
}

TEST(StripeSignature, RefusesHeadersThatStripeDoesNotWrite)
{
    std::string v1 = std::string(",v1=") + good;
    for (const std::string &header : {std::string(),
                                      std::string(","),
                                      std::string("v1"),
                                      std::string("t=1767225600"),
                                      std::string("v1=") + good,
                                      "t=1767225600, v1=" + std::string(good),
                                      "T=1767225600" + v1,
                                      "t=" + v1,
                                      "t=-1767225600" + v1,
                                      "t=+1767225600" + v1,
                                      "t= 1767225600" + v1,
                                      "t=1767225600 " + v1,
                                      "t=1767225600.0" + v1,
                                      "t=0x69577100" + v1,
                                      "t=1767225600000" + v1,
                                      "t=99999999999999999999" + v1,
                                      "t=1767225600,t=1767225600" + v1,
                                      "t=1767225600,t=1" + v1,
                                      "t" + v1,
                                      " t=1767225600" + v1})
        EXPECT_EQ(verify(header), SignatureVerdict::malformed_header) << header;
}

TEST(StripeSignature, RefusesSignaturesThatAreNotExactlyTheDigest)
{
    std::string upper = good;
    for (char &c : upper)
        c = static_cast<char>(toupper(c));
    std::string flipped = good;
    flipped.back() = '4';
    for (const std::string &signature :
         {upper, flipped, std::string(), std::string(good, 63), std::string(good) + "0",
          std::string(good) + " ", "=" + std::string(good), std::string(64, '0')})
        EXPECT_EQ(verify(stripe_header(signature)), SignatureVerdict::mismatch) << signature;
    /* the time is part of what is signed */
    EXPECT_EQ(verify(std::string("t=1767225601,v1=") + good), SignatureVerdict::mismatch);
    EXPECT_EQ(verify(std::string("t=01767225600,v1=") + good), SignatureVerdict::mismatch);
}

TEST(StripeSignature, HoldsBothEndsOfTheTolerance)
{
    struct {
        int64_t now, tolerance;
        SignatureVerdict verdict;
    } cases[] = {
        {signed_at + 300, 300, SignatureVerdict::valid},
        {signed_at + 301, 300, SignatureVerdict::too_old},
        {signed_at - 300, 300, SignatureVerdict::valid},
        {signed_at - 301, 300, SignatureVerdict::in_future},
        {signed_at, 0, SignatureVerdict::valid},
        {signed_at + 1, 0, SignatureVerdict::too_old},
        {signed_at - 1, 0, SignatureVerdict::in_future},
        {signed_at, -1, SignatureVerdict::valid},
        {signed_at + 1, INT64_MIN, SignatureVerdict::too_old},
        {signed_at + 1000000, INT64_MAX, SignatureVerdict::valid},
        {INT64_MAX, 300, SignatureVerdict::too_old},
        {INT64_MIN, 300, SignatureVerdict::in_future},
    };
    for (auto &c : cases)
        EXPECT_EQ(verify(stripe_header(good), secret, c.now, c.tolerance), c.verdict)
            << c.now << ' ' << c.tolerance;
    /* a stranger learns nothing about our clock */
    EXPECT_EQ(verify(stripe_header(with_old_secret), secret, signed_at + 9999),
              SignatureVerdict::mismatch);
}

TEST(StripeSignature, BoundsTheWorkAHeaderCanCause)
{
    std::string fifteen = "t=1767225600";
    for (int i = 0; i < 15; i++)
        fifteen += ",v1=00";
    EXPECT_EQ(verify(fifteen + ",v1=" + good), SignatureVerdict::valid);
    EXPECT_EQ(verify(fifteen + ",v1=00,v1=" + good), SignatureVerdict::mismatch);

    std::string padded = stripe_header(good) + ",x=";
    padded.resize(4096, 'x');
    EXPECT_EQ(verify(padded), SignatureVerdict::valid);
    EXPECT_EQ(verify(padded + "x"), SignatureVerdict::malformed_header);

    std::clock_t start = std::clock();
    EXPECT_EQ(verify(std::string(10 << 20, ',')), SignatureVerdict::malformed_header);
    EXPECT_EQ(verify(stripe_header(good), std::string(10 << 20, '\n')),
              SignatureVerdict::no_secret);
    EXPECT_EQ(verify_stripe_signature(std::string(10 << 20, 'x'), stripe_header(good), secret,
                                      signed_at, 300),
              SignatureVerdict::mismatch);
    EXPECT_LT(std::clock() - start, 10 * CLOCKS_PER_SEC);
}
