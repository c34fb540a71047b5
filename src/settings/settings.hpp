/*
 * settings.hpp: the server's settings, skene_gate.*. What belongs to the business
 * (sender, links, time zone) is in the configuration document instead.
 */
#pragma once

#include "server/prelude.hpp"

namespace skene
{

enum DeliveryMode : int { delivery_off, delivery_capture, delivery_on };
enum ContentionPolicy : int { contention_wait, contention_deny };

constexpr int max_requests_limit = 256;

extern int delivery;              /* DeliveryMode */
extern char *resend_api_key_file; /* "" = none */
extern char *resend_base_url;
extern double resend_rate; /* requests a second */
extern int resend_batch;   /* messages a request */
extern char *stripe_api_key_file;
extern char *stripe_base_url;
extern double stripe_rate;
extern int max_requests;     /* under way at once, of each provider */
extern int request_timeout;  /* milliseconds */
extern char *http_proxy;     /* "" = none */
extern char *ca_file;        /* "" = the system's */
extern int outbox_retention; /* seconds */
extern char *stripe_webhook_secret_file;
extern int max_windows;           /* counters in shared memory */
extern int max_reservations;      /* units in flight, of all transactions */
extern int contention_timeout;    /* milliseconds */
extern int on_contention;         /* ContentionPolicy */
extern int fold_interval;         /* milliseconds */
extern int past_due_grace;        /* seconds */
extern int attribution_window;    /* seconds */
extern int idempotency_retention; /* seconds */
extern int clock_offset;          /* seconds; for gate_time() only */

/* Define them all; from _PG_init. */
void define_settings();

} // namespace skene
