/*
 * settings.cpp: definitions of skene_gate.*. All are for superusers; those that
 * are not fixed at start can be set for one database (ALTER DATABASE ... SET).
 */
#include "settings/settings.hpp"

namespace skene
{

int delivery = delivery_capture;
char *resend_api_key_file = nullptr;
char *resend_base_url = nullptr;
double resend_rate = 2.0;
int resend_batch = 100;
char *stripe_api_key_file = nullptr;
char *stripe_base_url = nullptr;
double stripe_rate = 10.0;
int max_requests = 16;
int request_timeout = 30000;
char *http_proxy = nullptr;
char *ca_file = nullptr;
int outbox_retention = 30 * 86400;
char *stripe_webhook_secret_file = nullptr;
int max_windows = 16384;
int max_reservations = 16384;
int contention_timeout = 5000;
int on_contention = contention_wait;
int fold_interval = 1000;
int past_due_grace = 7 * 86400;
int attribution_window = 30 * 86400;
int idempotency_retention = 7 * 86400;
int clock_offset = 0;

namespace
{

const config_enum_entry delivery_modes[] = {{"off", delivery_off, false},
                                            {"capture", delivery_capture, false},
                                            {"on", delivery_on, false},
                                            {nullptr, 0, false}};

const config_enum_entry contention_policies[] = {
    {"wait", contention_wait, false}, {"deny", contention_deny, false}, {nullptr, 0, false}};

/* Is it https, or http on this machine? A key must never travel in the clear. */
bool
is_safe_base_url(const char *url)
{
    static const char *const prefixes[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};

    if (strncmp(url, "https://", 8) == 0)
        return url[8] != '\0';
    for (const char *prefix : prefixes) {
        size_t length = strlen(prefix);
        if (strncmp(url, prefix, length) == 0)
            return url[length] == '\0' || url[length] == ':' || url[length] == '/';
    }
    return false;
}

bool
check_base_url(char **value, void **, GucSource)
{
    if (is_safe_base_url(*value))
        return true;
    GUC_check_errdetail("A base URL begins with https://, or with http:// on 127.0.0.1, [::1] "
                        "or localhost.");
    return false;
}

/* Paths are absolute: the server's directory is no place to start from. */
bool
check_absolute(const char *path, const char *whose)
{
    if (*path == '\0' || is_absolute_path(path))
        return true;
    GUC_check_errdetail("The path of %s must be absolute.", whose);
    return false;
}

bool
check_file_path(char **value, void **, GucSource)
{
    return check_absolute(*value, "a secret file");
}

bool
check_ca_file(char **value, void **, GucSource)
{
    return check_absolute(*value, "the certificates");
}

/* A proxy is http:// or https://: libcurl would take others, some of which resolve names here. */
bool
check_proxy(char **value, void **, GucSource)
{
    if (**value == '\0' || strncmp(*value, "http://", 7) == 0 ||
        strncmp(*value, "https://", 8) == 0)
        return true;
    GUC_check_errdetail("A proxy begins with http:// or https://.");
    return false;
}

/*
 * Refuse to travel where mail goes out to customers. Only what somebody sets now is
 * refused: configuration files bring settings in any order, and gate_time() heeds none
 * while delivery is on.
 */
bool
check_clock_offset(int *value, void **, GucSource source)
{
    if (*value == 0 || delivery != delivery_on || source < PGC_S_INTERACTIVE ||
        InitializingParallelWorker)
        return true;
    GUC_check_errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE);
    GUC_check_errdetail("The gate's clock cannot be moved while skene_gate.delivery is on.");
    return false;
}

} // namespace

void
define_settings()
{
    constexpr int secret = GUC_SUPERUSER_ONLY;

    DefineCustomEnumVariable(
        "skene_gate.delivery", "Whether messages in skene.outbox leave the database.",
        "capture keeps them for skene.mailbox, on sends them, off leaves them "
        "pending.",
        &delivery, delivery_capture, delivery_modes, PGC_SUSET, 0, nullptr, nullptr, nullptr);
    DefineCustomStringVariable(
        "skene_gate.resend_api_key_file", "File that holds the API key of Resend.",
        "Mode 0600, or 0640 if owned by root; outside the data directory.", &resend_api_key_file,
        "", PGC_SUSET, secret, check_file_path, nullptr, nullptr);
    DefineCustomStringVariable("skene_gate.resend_base_url", "Where Resend's API is reached.",
                               nullptr, &resend_base_url, "https://api.resend.com", PGC_SUSET,
                               secret, check_base_url, nullptr, nullptr);
    DefineCustomRealVariable("skene_gate.resend_rate", "Requests a second to Resend, at most.",
                             nullptr, &resend_rate, 2.0, 0.01, 100000.0, PGC_SUSET, 0, nullptr,
                             nullptr, nullptr);
    DefineCustomIntVariable("skene_gate.resend_batch",
                            "Messages in one request to Resend, at most, when several wait.",
                            "1 sends each in a request of its own.", &resend_batch, 100, 1, 100,
                            PGC_SUSET, 0, nullptr, nullptr, nullptr);
    DefineCustomStringVariable(
        "skene_gate.stripe_api_key_file", "File that holds the API key of Stripe.",
        "Mode 0600, or 0640 if owned by root; outside the data directory.", &stripe_api_key_file,
        "", PGC_SUSET, secret, check_file_path, nullptr, nullptr);
    DefineCustomStringVariable("skene_gate.stripe_base_url", "Where Stripe's API is reached.",
                               nullptr, &stripe_base_url, "https://api.stripe.com", PGC_SUSET,
                               secret, check_base_url, nullptr, nullptr);
    DefineCustomRealVariable("skene_gate.stripe_rate", "Requests a second to Stripe, at most.",
                             nullptr, &stripe_rate, 10.0, 0.01, 100000.0, PGC_SUSET, 0, nullptr,
                             nullptr, nullptr);
    DefineCustomIntVariable("skene_gate.max_requests",
                            "Requests under way to one provider at once.", nullptr, &max_requests,
                            16, 1, max_requests_limit, PGC_SUSET, 0, nullptr, nullptr, nullptr);
    DefineCustomIntVariable(
        "skene_gate.request_timeout", "How long a request to a provider may take.",
        "What became of it is unknown then: it is repeated with the same key.", &request_timeout,
        30000, 100, 120000, PGC_SUSET, GUC_UNIT_MS, nullptr, nullptr, nullptr);
    DefineCustomStringVariable("skene_gate.http_proxy", "Proxy for requests to providers.",
                               "Not used for 127.0.0.1, ::1 and localhost.", &http_proxy, "",
                               PGC_SUSET, secret, check_proxy, nullptr, nullptr);
    DefineCustomStringVariable("skene_gate.ca_file",
                               "Certificates (PEM) of whom to trust as a provider.",
                               "Empty: those of the system.", &ca_file, "", PGC_SUSET, secret,
                               check_ca_file, nullptr, nullptr);
    DefineCustomIntVariable("skene_gate.outbox_retention",
                            "How long rows of skene.outbox are kept after their end.", nullptr,
                            &outbox_retention, 30 * 86400, 86400, 3650 * 86400, PGC_SUSET,
                            GUC_UNIT_S, nullptr, nullptr, nullptr);
    DefineCustomStringVariable("skene_gate.stripe_webhook_secret_file",
                               "File that holds the signing secrets of Stripe's webhook, one a "
                               "line.",
                               "Mode 0600, or 0640 if owned by root; outside the data directory.",
                               &stripe_webhook_secret_file, "", PGC_SUSET, secret, check_file_path,
                               nullptr, nullptr);
    DefineCustomIntVariable(
        "skene_gate.max_windows", "Windows of usage that are held in shared memory at once.",
        "About 1 kB each; others are read from the tables when they are needed.", &max_windows,
        16384, 64, 1 << 24, PGC_POSTMASTER, 0, nullptr, nullptr, nullptr);
    DefineCustomIntVariable("skene_gate.max_reservations",
                            "Windows in which transactions under way can have counted at once.",
                            "One for each customer, feature and window of each transaction.",
                            &max_reservations, 16384, 256, 1 << 24, PGC_POSTMASTER, 0, nullptr,
                            nullptr, nullptr);
    DefineCustomIntVariable("skene_gate.contention_timeout",
                            "How long to wait for other transactions that may still give the last "
                            "units back.",
                            "After that a call fails with 55P03.", &contention_timeout, 5000, 1,
                            INT_MAX / 2, PGC_USERSET, GUC_UNIT_MS, nullptr, nullptr, nullptr);
    DefineCustomEnumVariable(
        "skene_gate.on_contention", "What to do when the answer depends on transactions under way.",
        "wait for them, or deny with reason contended.", &on_contention, contention_wait,
        contention_policies, PGC_USERSET, 0, nullptr, nullptr, nullptr);
    DefineCustomIntVariable("skene_gate.fold_interval",
                            "How often the worker folds skene.usage_events into skene.usage.",
                            nullptr, &fold_interval, 1000, 10, 3600 * 1000, PGC_SUSET, GUC_UNIT_MS,
                            nullptr, nullptr, nullptr);
    DefineCustomIntVariable("skene_gate.past_due_grace",
                            "How long a plan lasts after its payment failed.", nullptr,
                            &past_due_grace, 7 * 86400, 0, 90 * 86400, PGC_SUSET, GUC_UNIT_S,
                            nullptr, nullptr, nullptr);
    DefineCustomIntVariable("skene_gate.attribution_window",
                            "How old a prompt may be to be credited with a conversion.", nullptr,
                            &attribution_window, 30 * 86400, 0, 365 * 86400, PGC_SUSET, GUC_UNIT_S,
                            nullptr, nullptr, nullptr);
    DefineCustomIntVariable("skene_gate.idempotency_retention",
                            "How long idempotency keys are kept.", nullptr, &idempotency_retention,
                            7 * 86400, 3600, 365 * 86400, PGC_SUSET, GUC_UNIT_S, nullptr, nullptr,
                            nullptr);
    DefineCustomIntVariable(
        "skene_gate.clock_offset", "Moves the gate's clock, for tests of an application.",
        "Has no effect while skene_gate.delivery is on.", &clock_offset, 0, -3650 * 86400,
        3650 * 86400, PGC_SUSET, GUC_UNIT_S, check_clock_offset, nullptr, nullptr);
    MarkGUCPrefixReserved("skene_gate");
}

} // namespace skene
