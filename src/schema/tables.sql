-- tables.sql: what is stored. Every table and sequence is dumped by pg_dump, so
-- none of them references another (rows may arrive in any order) and seed rows
-- are told apart by a column. user_id is the account that is limited and billed.

CREATE DOMAIN skene.user_id AS text COLLATE "C"
    CHECK (octet_length(VALUE) BETWEEN 1 AND 255);
CREATE DOMAIN skene.name AS text COLLATE "C"
    CHECK (octet_length(VALUE) BETWEEN 1 AND 63);

-- Configuration: written by skene_apply() ------------------------------------

CREATE TABLE skene.plans (
    plan        skene.name PRIMARY KEY,
    rank        integer NOT NULL CHECK (rank >= 0),
    is_default  boolean NOT NULL DEFAULT false,
    prices      text[] NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX plans_one_default ON skene.plans (is_default) WHERE is_default;
COMMENT ON TABLE skene.plans IS 'Plans; a higher rank is a better plan';

CREATE TABLE skene.features (
    feature          skene.name PRIMARY KEY,
    period           text NOT NULL,
    endpoints        text[] NOT NULL DEFAULT '{}',
    warn_at          integer[] NOT NULL DEFAULT '{}',
    message          text,
    prompt_provider  text,
    prompt_template  text,
    prompt_on        text NOT NULL DEFAULT 'denied' CHECK (prompt_on IN ('denied', 'reached')),
    prompt_sequence  jsonb
);
COMMENT ON TABLE skene.features IS 'Features that are counted';

CREATE TABLE skene.entitlements (
    plan         skene.name,
    feature      skene.name,
    period       text,
    usage_limit  bigint CHECK (usage_limit >= 0),
    PRIMARY KEY (plan, feature, period)
);
COMMENT ON TABLE skene.entitlements IS
    'What a plan gives of a feature: at most usage_limit units in each window of period; null is unlimited';

CREATE TABLE skene.settings (
    name   text PRIMARY KEY,
    value  text NOT NULL
);
COMMENT ON TABLE skene.settings IS 'Settings of the business: sender, links, time zone';

CREATE TABLE skene.templates (
    template  skene.name,
    locale    text NOT NULL DEFAULT '',
    builtin   boolean NOT NULL DEFAULT false,
    subject   text NOT NULL,
    html      text,
    text      text,
    PRIMARY KEY (template, locale, builtin),
    CHECK (html IS NOT NULL OR text IS NOT NULL)
);
COMMENT ON TABLE skene.templates IS
    'E-mail templates; a built-in one stands back behind one of your own with the same name';

-- Customers ------------------------------------------------------------------

-- 128 bits that nobody can guess.
CREATE FUNCTION skene.new_token() RETURNS text
LANGUAGE sql VOLATILE SET search_path TO pg_catalog, pg_temp AS
$$ SELECT encode(substr(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 1, 16), 'hex') $$;

CREATE TABLE skene.customers (
    user_id             skene.user_id PRIMARY KEY,
    email               text,
    name                text,
    attributes          jsonb NOT NULL DEFAULT '{}',
    stripe_customer_id  text UNIQUE,
    locale              text,
    time_zone           text,
    anchor              timestamptz NOT NULL,
    created_at          timestamptz NOT NULL DEFAULT skene.gate_time(),
    updated_at          timestamptz NOT NULL DEFAULT skene.gate_time(),
    unsubscribe_token   text COLLATE "C" NOT NULL DEFAULT skene.new_token() UNIQUE
);
COMMENT ON TABLE skene.customers IS 'Accounts that are limited and billed';

CREATE TABLE skene.subscriptions (
    subscription_id     text PRIMARY KEY,
    user_id             skene.user_id,
    source              text NOT NULL CHECK (source IN ('stripe', 'manual')),
    plan                skene.name,
    status              text NOT NULL,
    prices              text[] NOT NULL DEFAULT '{}',
    amount              bigint,
    currency            text,
    billing_interval    text,
    stripe_customer_id  text,
    current_period_start timestamptz,
    current_period_end  timestamptz,
    cancel_at           timestamptz,
    ends_at             timestamptz,
    past_due_since      timestamptz,
    reason              text,
    event_created       timestamptz,
    updated_at          timestamptz NOT NULL DEFAULT skene.gate_time()
);
CREATE INDEX subscriptions_user ON skene.subscriptions (user_id);
CREATE INDEX subscriptions_stripe_customer ON skene.subscriptions (stripe_customer_id)
    WHERE user_id IS NULL;
COMMENT ON TABLE skene.subscriptions IS
    'Subscriptions, from Stripe or set by hand; user_id is null until the customer is known';

CREATE TABLE skene.overrides (
    user_id      skene.user_id,
    feature      skene.name,
    usage_limit  bigint CHECK (usage_limit >= 0),
    expires_at   timestamptz,
    reason       text,
    created_at   timestamptz NOT NULL DEFAULT skene.gate_time(),
    PRIMARY KEY (user_id, feature)
);
COMMENT ON TABLE skene.overrides IS 'A limit for one customer, in place of the plan''s';

CREATE TABLE skene.grants (
    grant_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id          skene.user_id NOT NULL,
    feature          skene.name NOT NULL,
    amount           bigint NOT NULL CHECK (amount > 0),
    expires_at       timestamptz,
    priority         integer NOT NULL DEFAULT 0,
    reason           text,
    idempotency_key  text COLLATE "C",
    created_at       timestamptz NOT NULL DEFAULT skene.gate_time(),
    UNIQUE (user_id, feature, idempotency_key)
);
COMMENT ON TABLE skene.grants IS
    'One-off extra units, used when the plan''s are used up; counted in a window of period grant:ID';

-- Counting -------------------------------------------------------------------

CREATE TYPE skene.usage_window AS (
    period        text,
    window_start  timestamptz,
    window_end    timestamptz,
    amount        bigint
);

CREATE TABLE skene.usage (
    user_id       skene.user_id,
    feature       skene.name,
    period        text,
    window_start  timestamptz,
    window_end    timestamptz NOT NULL,
    used          bigint NOT NULL,
    PRIMARY KEY (user_id, feature, period, window_start)
) WITH (fillfactor = 80);
COMMENT ON TABLE skene.usage IS
    'Units used, per customer, feature and window, as far as they are folded in; usage_totals has all';

-- The engine inserts here by column position, and the worker deletes soon after.
CREATE TABLE skene.usage_events (
    user_id       skene.user_id NOT NULL,
    feature       skene.name NOT NULL,
    period        text NOT NULL,
    window_start  timestamptz NOT NULL,
    window_end    timestamptz NOT NULL,
    amount        bigint NOT NULL,
    more          skene.usage_window[],
    anchor        timestamptz,
    created_at    timestamptz NOT NULL DEFAULT skene.gate_time()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_threshold = 1000000);
ALTER TABLE skene.usage_events REPLICA IDENTITY FULL;
CREATE INDEX usage_events_key ON skene.usage_events (user_id);
COMMENT ON TABLE skene.usage_events IS
    'Units committed but not yet folded into usage: one row for each admitted call';

CREATE TABLE skene.idempotency_keys (
    user_id          skene.user_id,
    feature          skene.name,
    operation        text CHECK (operation IN ('consume', 'refund')),
    idempotency_key  text COLLATE "C",
    amount           bigint NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT skene.gate_time(),
    PRIMARY KEY (user_id, feature, operation, idempotency_key)
);
CREATE INDEX idempotency_keys_age ON skene.idempotency_keys (created_at);
COMMENT ON TABLE skene.idempotency_keys IS
    'Keys of admitted calls, kept for skene_gate.idempotency_retention';

-- Prompts and delivery -------------------------------------------------------

CREATE TABLE skene.prompts (
    prompt_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id          skene.user_id NOT NULL,
    feature          skene.name NOT NULL,
    period           text NOT NULL,
    window_start     timestamptz NOT NULL,
    window_end       timestamptz NOT NULL,
    kind             text NOT NULL
        CHECK (kind IN ('warning', 'limit_reached', 'not_entitled', 'past_due')),
    state            text NOT NULL DEFAULT 'new'
        CHECK (state IN ('new', 'queued', 'sent', 'no_address', 'suppressed', 'failed', 'cancelled')),
    denials          bigint NOT NULL DEFAULT 0,
    first_denied_at  timestamptz NOT NULL,
    last_denied_at   timestamptz NOT NULL,
    plan             skene.name,
    error            text,
    created_at       timestamptz NOT NULL DEFAULT skene.gate_time(),
    UNIQUE (user_id, feature, period, window_start, kind)
);
CREATE INDEX prompts_no_address ON skene.prompts (user_id) WHERE state = 'no_address';
COMMENT ON TABLE skene.prompts IS
    'Invitations to upgrade: one for each customer, feature, window and kind';

CREATE TABLE skene.outbox (
    outbox_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider          text NOT NULL CHECK (provider IN ('resend', 'stripe')),
    path              text NOT NULL CHECK (path LIKE '/%'),
    content_type      text NOT NULL DEFAULT 'application/json',
    body              text NOT NULL,
    idempotency_key   text NOT NULL UNIQUE
        CHECK (octet_length(idempotency_key) BETWEEN 1 AND 255),
    state             text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'leased', 'sent', 'captured', 'dead', 'held', 'cancelled')),
    attempts          integer NOT NULL DEFAULT 0,
    next_attempt_at   timestamptz NOT NULL DEFAULT skene.gate_time(),
    first_attempt_at  timestamptz,
    last_attempt_at   timestamptz,
    unknown_since     timestamptz,
    lease_token       uuid,
    lease_expires_at  timestamptz,
    batch_id          bigint,
    batch_place       integer,
    alone             boolean NOT NULL DEFAULT false,
    last_status       integer,
    last_error        text,
    dns_ms            real,
    connect_ms        real,
    tls_ms            real,
    first_byte_ms     real,
    total_ms          real,
    provider_id       text,
    user_id           skene.user_id,
    prompt_id         bigint,
    origin_system     bigint NOT NULL DEFAULT skene.system_identifier(),
    origin_database   oid NOT NULL DEFAULT skene.database_oid(),
    created_at        timestamptz NOT NULL DEFAULT skene.gate_time(),
    settled_at        timestamptz,
    recipient         text,
    step              integer NOT NULL DEFAULT 1,
    category          text CHECK (category IN ('transactional', 'marketing'))
);
CREATE INDEX outbox_due ON skene.outbox (provider, next_attempt_at) WHERE state = 'pending';
CREATE INDEX outbox_leases ON skene.outbox (lease_expires_at) WHERE state = 'leased';
CREATE INDEX outbox_unknown ON skene.outbox (unknown_since)
    WHERE state = 'pending' AND unknown_since IS NOT NULL;
CREATE INDEX outbox_batch ON skene.outbox (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX outbox_ended ON skene.outbox (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX outbox_prompt ON skene.outbox (prompt_id);
COMMENT ON TABLE skene.outbox IS
    'Requests to providers; body and idempotency_key are fixed from the first attempt on and sent as they are';

-- By hash, so that it outlives whoever asked for it.
CREATE TABLE skene.suppressions (
    address_hash  bytea,
    category      text CHECK (category IN ('all', 'marketing')),
    reason        text,
    since         timestamptz NOT NULL DEFAULT skene.gate_time(),
    PRIMARY KEY (address_hash, category)
);
COMMENT ON TABLE skene.suppressions IS
    'Addresses that get no e-mail, or none for marketing; kept when the customer is erased';

CREATE TABLE skene.batches (
    batch_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    idempotency_key  text NOT NULL UNIQUE,
    messages         integer NOT NULL,
    body             text NOT NULL,
    origin_system    bigint NOT NULL DEFAULT skene.system_identifier(),
    origin_database  oid NOT NULL DEFAULT skene.database_oid(),
    created_at       timestamptz NOT NULL DEFAULT skene.gate_time()
);
COMMENT ON TABLE skene.batches IS
    'Requests that carry several rows of skene.outbox, from their making until every row is settled; like rows, they are sent as they are';

CREATE TABLE skene.pauses (
    provider   text PRIMARY KEY,
    paused_at  timestamptz NOT NULL DEFAULT skene.gate_time()
);
COMMENT ON TABLE skene.pauses IS 'Providers to which nothing is sent; * is all of them';

CREATE TABLE skene.instance (
    system_identifier  bigint NOT NULL,
    database_oid       oid NOT NULL,
    installed_at       timestamptz NOT NULL DEFAULT skene.gate_time()
);
ALTER TABLE skene.instance REPLICA IDENTITY FULL;
COMMENT ON TABLE skene.instance IS
    'Databases these rows have lived in; a foreign one holds delivery until skene_resume()';
INSERT INTO skene.instance VALUES (skene.system_identifier(), skene.database_oid());

-- Stripe ---------------------------------------------------------------------

CREATE TABLE skene.webhook_events (
    provider     text,
    event_id     text COLLATE "C",
    event_type   text NOT NULL,
    object_id    text,
    created_at   timestamptz NOT NULL,
    received_at  timestamptz NOT NULL DEFAULT skene.gate_time(),
    livemode     boolean NOT NULL,
    result       text NOT NULL,
    PRIMARY KEY (provider, event_id)
);
COMMENT ON TABLE skene.webhook_events IS 'Webhook events that were accepted, each once';

CREATE TABLE skene.conversions (
    conversion_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id          skene.user_id NOT NULL,
    kind             text NOT NULL CHECK (kind IN ('conversion', 'upgrade', 'downgrade', 'churn')),
    from_plan        skene.name,
    to_plan          skene.name,
    prompt_id        bigint,
    feature          skene.name,
    time_to_convert  interval,
    amount           bigint,
    currency         text,
    subscription_id  text,
    converted_at     timestamptz NOT NULL DEFAULT skene.gate_time()
);
CREATE INDEX conversions_user ON skene.conversions (user_id);
CREATE INDEX conversions_feature ON skene.conversions (feature);
COMMENT ON TABLE skene.conversions IS
    'Changes of plan: conversion is from the default plan to a paid one, churn the way back';
