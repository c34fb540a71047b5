/*
 * email.hpp: a template and its variables become the exact bytes of a request to
 * the e-mail provider.
 *
 * Invariant: values come from strangers. They are escaped in HTML, lose control
 * characters in headers, and are never read as template text.
 */
#pragma once

#include "core/bytes.hpp"

namespace skene
{

struct EmailRequest {
    std::string_view from;            /* "Name <address>" or a bare address */
    std::string_view to;              /* one bare address */
    std::string_view reply_to;        /* may be empty */
    std::string_view subject;         /* template text; ignored with hosted_template */
    std::string_view html;            /* template text; may be empty if text is not */
    std::string_view text;            /* template text; may be empty if html is not */
    std::string_view hosted_template; /* name of a template hosted at Resend, or empty */
    std::string_view variables;       /* JSON object of strings, numbers, booleans, nulls */
    std::string_view unsubscribe_url; /* for List-Unsubscribe; may be empty */
    std::string_view postal_address;  /* foot of the message; may be empty */
};

struct EmailResult {
    bool ok = false;
    Bytes body;             /* JSON of POST /emails; release with free_bytes() */
    char problem[512] = {}; /* when not ok */
};

/*
 * Render a POST /emails body (https://resend.com/docs/api-reference/emails/send-email).
 * {{name}} is replaced and escaped for where it stands; {{#name}}…{{/name}} is kept
 * only when name is neither null, false nor empty. A name that is not among the
 * variables, an unclosed brace or section, invalid UTF-8, an address that is none and
 * a text of more than 256 KiB are problems. Deterministic: equal input gives equal
 * bytes. The caller owns result->body.
 *
 * With an unsubscribe_url the message can be unsubscribed from with one click (RFC 8058). The
 * postal address stands at the foot of html and text, but not of a hosted template.
 */
void render_email(const EmailRequest &request, EmailResult *result) noexcept;

/*
 * Is this one bare mailbox, local@domain, that can stand in a To header without
 * quoting (RFC 5321 sizes, no spaces, commas, angle brackets or control
 * characters, a dot-atom local part, a domain of at least one label)? ASCII only:
 * a domain beyond it is written in punycode, a local part beyond it reaches few
 * servers.
 */
bool valid_address(std::string_view address) noexcept;

/* Is this a sender: "Name <address>" or a bare address? */
bool valid_mailbox(std::string_view mailbox) noexcept;

} // namespace skene
