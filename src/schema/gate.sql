-- gate.sql: the functions applications call to count and to look. All of them are
-- C and run as the caller until they touch a table (see src/gate).

CREATE TYPE @extschema@.skene_decision AS (
    allowed       boolean,
    reason        text,
    feature       text,
    used          bigint,
    usage_limit   bigint,
    remaining     bigint,
    resets_at     timestamptz,
    retry_after   bigint,
    plan          text,
    upgrade_plan  text,
    message       text,
    upgrade_url   text,
    replayed      boolean
);
COMMENT ON TYPE @extschema@.skene_decision IS
'Answer of the gate. reason: ok, unlimited, overage, shadow | limit_reached, not_entitled, rate_limited, past_due, contended. used, usage_limit and remaining are units of the current window; usage_limit and remaining are null when unlimited; resets_at is null for lifetime windows; retry_after is in whole seconds, as HTTP''s Retry-After, and null unless waiting helps';

-- The plan in force for each customer with a subscription that grants access. Others
-- have the default plan.
CREATE VIEW skene.customer_plans AS
SELECT DISTINCT ON (s.user_id)
       s.user_id, p.plan, p.rank, s.subscription_id, s.status
  FROM skene.subscriptions s
  JOIN skene.plans p ON p.plan = s.plan
 WHERE s.user_id IS NOT NULL
   AND (s.ends_at IS NULL OR s.ends_at > skene.gate_time())
   AND (s.status IN ('active', 'trialing')
        OR (s.status = 'past_due'
            AND s.past_due_since + current_setting('skene_gate.past_due_grace')::interval
                > skene.gate_time()))
 ORDER BY s.user_id, p.rank DESC, s.subscription_id;
COMMENT ON VIEW skene.customer_plans IS
    'The best plan that each customer''s subscriptions grant now; customers not listed have the default plan';

-- Counting -------------------------------------------------------------------
-- COST 10000: other conditions of a query are checked before one that counts.

CREATE FUNCTION @extschema@.skene_consume(user_id text, feature text, amount bigint DEFAULT 1,
                                          idempotency_key text DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_consume';

CREATE FUNCTION @extschema@.skene_consume(user_uuid uuid, feature text, amount bigint DEFAULT 1,
                                          idempotency_key text DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_consume';

CREATE FUNCTION @extschema@.skene_consume(user_bigint bigint, feature text, amount bigint DEFAULT 1,
                                          idempotency_key text DEFAULT NULL)
RETURNS boolean LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_consume';

CREATE FUNCTION @extschema@.skene_decide(user_id text, feature text, amount bigint DEFAULT 1,
                                         idempotency_key text DEFAULT NULL)
RETURNS @extschema@.skene_decision LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_decide';

CREATE FUNCTION @extschema@.skene_decide(user_uuid uuid, feature text, amount bigint DEFAULT 1,
                                         idempotency_key text DEFAULT NULL)
RETURNS @extschema@.skene_decision LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_decide';

CREATE FUNCTION @extschema@.skene_decide(user_bigint bigint, feature text, amount bigint DEFAULT 1,
                                         idempotency_key text DEFAULT NULL)
RETURNS @extschema@.skene_decision LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_decide';

CREATE FUNCTION @extschema@.skene_require(user_id text, feature text, amount bigint DEFAULT 1,
                                          idempotency_key text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_require';

CREATE FUNCTION @extschema@.skene_require(user_uuid uuid, feature text, amount bigint DEFAULT 1,
                                          idempotency_key text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_require';

CREATE FUNCTION @extschema@.skene_require(user_bigint bigint, feature text, amount bigint DEFAULT 1,
                                          idempotency_key text DEFAULT NULL)
RETURNS void LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_require';

CREATE FUNCTION @extschema@.skene_refund(user_id text, feature text, amount bigint DEFAULT 1,
                                         idempotency_key text DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_refund';

CREATE FUNCTION @extschema@.skene_refund(user_uuid uuid, feature text, amount bigint DEFAULT 1,
                                         idempotency_key text DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_refund';

CREATE FUNCTION @extschema@.skene_refund(user_bigint bigint, feature text, amount bigint DEFAULT 1,
                                         idempotency_key text DEFAULT NULL)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_refund';

CREATE FUNCTION @extschema@.skene_consume_request(user_id text, method text, path text,
                                                  amount bigint DEFAULT 1,
                                                  idempotency_key text DEFAULT NULL,
                                                  on_no_match text DEFAULT 'allow')
RETURNS @extschema@.skene_decision LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_consume_request';

CREATE FUNCTION @extschema@.skene_consume_request(user_uuid uuid, method text, path text,
                                                  amount bigint DEFAULT 1,
                                                  idempotency_key text DEFAULT NULL,
                                                  on_no_match text DEFAULT 'allow')
RETURNS @extschema@.skene_decision LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_consume_request';

CREATE FUNCTION @extschema@.skene_consume_request(user_bigint bigint, method text, path text,
                                                  amount bigint DEFAULT 1,
                                                  idempotency_key text DEFAULT NULL,
                                                  on_no_match text DEFAULT 'allow')
RETURNS @extschema@.skene_decision LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_consume_request';

-- Looking --------------------------------------------------------------------

CREATE FUNCTION @extschema@.skene_check(user_id text, feature text, amount bigint DEFAULT 1)
RETURNS @extschema@.skene_decision LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000
AS 'MODULE_PATHNAME', 'skene_check';

CREATE FUNCTION @extschema@.skene_check(user_uuid uuid, feature text, amount bigint DEFAULT 1)
RETURNS @extschema@.skene_decision LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000
AS 'MODULE_PATHNAME', 'skene_check';

CREATE FUNCTION @extschema@.skene_check(user_bigint bigint, feature text, amount bigint DEFAULT 1)
RETURNS @extschema@.skene_decision LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000
AS 'MODULE_PATHNAME', 'skene_check';

CREATE FUNCTION @extschema@.skene_allows(user_id text, feature text, amount bigint DEFAULT 1)
RETURNS boolean LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000
AS 'MODULE_PATHNAME', 'skene_allows';

CREATE FUNCTION @extschema@.skene_allows(user_uuid uuid, feature text, amount bigint DEFAULT 1)
RETURNS boolean LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000
AS 'MODULE_PATHNAME', 'skene_allows';

CREATE FUNCTION @extschema@.skene_allows(user_bigint bigint, feature text, amount bigint DEFAULT 1)
RETURNS boolean LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000
AS 'MODULE_PATHNAME', 'skene_allows';

CREATE FUNCTION @extschema@.skene_usage(user_id text)
RETURNS TABLE (feature text, period text, used bigint, usage_limit bigint, remaining bigint,
               window_start timestamptz, resets_at timestamptz, plan text, entitled boolean)
LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000 ROWS 10
AS 'MODULE_PATHNAME', 'skene_usage';

CREATE FUNCTION @extschema@.skene_usage(user_uuid uuid)
RETURNS TABLE (feature text, period text, used bigint, usage_limit bigint, remaining bigint,
               window_start timestamptz, resets_at timestamptz, plan text, entitled boolean)
LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000 ROWS 10
AS 'MODULE_PATHNAME', 'skene_usage';

CREATE FUNCTION @extschema@.skene_usage(user_bigint bigint)
RETURNS TABLE (feature text, period text, used bigint, usage_limit bigint, remaining bigint,
               window_start timestamptz, resets_at timestamptz, plan text, entitled boolean)
LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000 ROWS 10
AS 'MODULE_PATHNAME', 'skene_usage';

CREATE FUNCTION @extschema@.skene_set_usage(user_id text, feature text, used bigint)
RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE COST 10000
AS 'MODULE_PATHNAME', 'skene_set_usage';
COMMENT ON FUNCTION @extschema@.skene_set_usage(text, text, bigint) IS
'Set the units used in a customer''s current window of a feature, by counting the difference; may pass the limit. Returns the units before. Errors: 22004 null, 22023 negative, 42704 unknown feature, 55P03 transactions under way hold units. Example: SELECT skene_set_usage(''u1'', ''export'', 0)';

-- Each overload carries the same comment.
DO $comments$
DECLARE
    described record;
    overload  record;
BEGIN
    FOR described IN
        SELECT * FROM (VALUES
        ('skene_consume',
         'Count amount units (> 0, default 1) of feature for the customer if the limit allows; true when counted, false when not. Part of the caller''s transaction: a rollback, also to a savepoint, gives the units back. A repeat of an idempotency_key (1 to 255 bytes; scope customer and feature) is true and counts nothing. Errors: 22004 null argument, 22023 bad amount, id or key, or a key that was used with another amount, 42704 unknown feature, 22003 counter overflow, 25006 read-only transaction, 53400 shared memory exhausted, 55P03 the last units stayed in the hands of running transactions longer than skene_gate.contention_timeout. Example: SELECT skene_consume(''u1'', ''export'')'),
        ('skene_decide',
         'As skene_consume, with the whole decision as a row; call it in FROM (0A000 elsewhere). Example: SELECT * FROM skene_decide(''u1'', ''export'')'),
        ('skene_require',
         'As skene_consume, but a denial raises PT402, which PostgREST turns into HTTP 402, with the decision as JSON in DETAIL. Example: SELECT skene_require(''u1'', ''export'')'),
        ('skene_refund',
         'Give back amount units (> 0, default 1) counted in the current window; returns the units used after it. Errors: as skene_consume, and 22003 when less than amount was used. Example: SELECT skene_refund(''u1'', ''export'', 1)'),
        ('skene_consume_request',
         'As skene_decide, for the feature whose endpoints match an HTTP request; the most specific endpoint wins. Without a match: on_no_match allow (the default) admits and counts nothing, deny refuses, error raises 42704. Call it in FROM. Example: SELECT * FROM skene_consume_request(''u1'', ''POST'', ''/api/export/7'')'),
        ('skene_check',
         'The decision skene_decide would give, without counting; also on a standby. Call it in FROM. Example: SELECT * FROM skene_check(''u1'', ''export'')'),
        ('skene_allows',
         'Would skene_consume be true now? Counts nothing; null arguments give false. For WHERE and row-level security, not for CHECK constraints. Example: SELECT skene_allows(''u1'', ''export'')'),
        ('skene_usage',
         'A customer''s account page: a row for each feature with the current window''s used, limit and remaining units (null = unlimited). Example: SELECT * FROM skene_usage(''u1'')')
        ) AS d (name, comment)
    LOOP
        FOR overload IN
            SELECT p.oid::regprocedure AS signature
              FROM pg_proc p
             WHERE p.proname = described.name
               AND p.pronamespace = (SELECT e.extnamespace FROM pg_extension e
                                      WHERE e.extname = 'skene_gate')
        LOOP
            EXECUTE format('COMMENT ON FUNCTION %s IS %L', overload.signature, described.comment);
        END LOOP;
    END LOOP;
END
$comments$;
