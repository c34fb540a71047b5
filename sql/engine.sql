-- engine.sql: what the counting engine shows of itself, and what it takes part in.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS skene_gate;
CREATE EXTENSION skene_gate;
RESET client_min_messages;
\set SHOW_CONTEXT never
SELECT count(*) > 0 AS configured FROM skene_apply('{
  "plans": {"free": {"default": true}, "pro": {"rank": 1}},
  "features": {
    "export": {"limit": {"free": 3, "pro": 10}, "period": "lifetime"},
    "api":    {"limit": {"free": 100}, "period": "lifetime"}}}');
-- Rows of entitlements with another period than the feature's are rates.
INSERT INTO skene.entitlements VALUES ('free', 'api', 'year', 4);
INSERT INTO skene.customers (user_id, anchor) SELECT 'e' || i, now() FROM generate_series(1, 9) i;
CREATE FUNCTION used(customer text, counted text) RETURNS TABLE (period text, used numeric) LANGUAGE sql AS
$$ SELECT regexp_replace(u.period, 'grant:.*', 'grant'), u.used FROM skene.usage_totals u
    WHERE u.user_id = $1 AND u.feature = $2 ORDER BY 1 $$;

-- Windows in shared memory: what is certain, and what may come of the calls in flight.
BEGIN;
SELECT skene_consume('e1', 'export', 2);
SELECT user_id, feature, period, window_start, window_end, lo, hi, in_flight, hits, waits, denials FROM skene.windows;
SELECT windows, reservations, max_windows > 0 AS sized, max_reservations > 0 AS bounded,
       loads > 0 AS loaded, misses > 0 AS missed FROM skene.window_stats();
COMMIT;
SELECT skene_consume('e1', 'export', 2), skene_consume('e1', 'export');
SELECT lo, hi, in_flight, hits, waits, denials FROM skene.windows;
SELECT * FROM skene_audit();

-- Rates: all or nothing, and the one that denies is the one that is told of.
SELECT allowed, reason, used, usage_limit, remaining FROM skene_decide('e2', 'api', 3);
SELECT allowed, reason, used, usage_limit, remaining, retry_after > 0 AS retry,
       resets_at = date_trunc('year', now(), 'UTC') + interval '1 year' AS next_year, message
  FROM skene_decide('e2', 'api', 2);
SELECT allowed, reason, used, remaining FROM skene_check('e2', 'api', 2);
\set VERBOSITY sqlstate
SELECT skene_require('e2', 'api', 2);
SELECT skene_require('e1', 'export');
\set VERBOSITY default
SELECT * FROM used('e2', 'api');
SELECT feature, used, remaining FROM skene_usage('e2');
SELECT count(*) AS prompts FROM skene.prompts WHERE user_id = 'e2';

-- Grants are used when the plan's units are, in their order.
SELECT skene_grant('e3', 'export', 2, reason => 'goodwill', idempotency_key => 'a')
     = skene_grant('e3', 'export', 2, idempotency_key => 'a') AS once;
SELECT allowed, used, usage_limit, remaining FROM skene_decide('e3', 'export', 4);
SELECT * FROM used('e3', 'export');
SELECT allowed, reason, used, usage_limit, remaining FROM skene_decide('e3', 'export', 2);
SELECT skene_grant('e3', 'export', 5, priority => 1) > 0 AS first,
       skene_grant('e3', 'export', 5, clock_timestamp() - interval '1 s') > 0 AS expired;
SELECT allowed, used, usage_limit, remaining FROM skene_decide('e3', 'export', 5);
SELECT * FROM used('e3', 'export');
SELECT skene_consume('e3', 'export'), skene_consume('e3', 'export');
SELECT count(skene_grant('e10', 'export', 1)) FROM generate_series(1, 5);
SELECT skene_grant('e10', 'export', 1);
SELECT skene_consume('e10', 'export', 8), skene_consume('e10', 'export');
SELECT skene_grant('e3', 'export', 0);
SELECT skene_grant('e3', 'nothing', 1);
SELECT skene_grant('e3', 'export', 3, idempotency_key => 'a');

-- Usage set by hand counts the difference, and may pass the limit.
SELECT skene_set_usage('e4', 'export', 2), skene_consume('e4', 'export'), skene_consume('e4', 'export');
SELECT skene_set_usage('e4', 'export', 7), skene_set_usage('e4', 'export', 7), skene_allows('e4', 'export');
SELECT skene_set_usage('e4', 'export', 1), skene_consume('e4', 'export', 2);
BEGIN;
SELECT skene_set_usage('e4', 'export', 0), skene_consume('e4', 'export', 3);
ROLLBACK;
SELECT * FROM used('e4', 'export');
SELECT skene_set_usage('e4', 'export', -1);
SELECT skene_set_usage('e4', 'export', NULL);

-- Exception blocks are savepoints, at any depth.
CREATE FUNCTION attempt(customer text, depth integer) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    below text := '';
BEGIN
    PERFORM skene_consume(customer, 'api');
    IF depth > 0 THEN
        BEGIN
            below := attempt(customer, depth - 1);
            IF depth % 2 = 0 THEN
                RAISE EXCEPTION 'taken back';
            END IF;
        EXCEPTION WHEN raise_exception THEN
            below := '-';
        END;
    END IF;
    RETURN (SELECT lo || '..' || hi FROM skene.windows w
             WHERE w.user_id = customer AND w.period = 'lifetime') || ' ' || below;
END $$;
SELECT attempt('e5', 0);
SELECT attempt('e5', 1);
SELECT attempt('e6', 4);
SELECT * FROM used('e6', 'api');
BEGIN;
SELECT skene_consume('e7', 'export', 3);
SAVEPOINT a;
SELECT skene_refund('e7', 'export', 3), skene_consume('e7', 'export', 2);
SAVEPOINT b;
SELECT skene_consume('e7', 'export'), skene_consume('e7', 'export');
RELEASE b;
SELECT lo, hi, in_flight > 0 AS held FROM skene.windows WHERE user_id = 'e7';
ROLLBACK TO a;
SELECT skene_consume('e7', 'export'), skene_refund('e7', 'export');
COMMIT;
SELECT lo, hi, in_flight FROM skene.windows WHERE user_id = 'e7';
SELECT * FROM used('e7', 'export');

-- Rows changed by hand: counters follow, in the same transaction and after it.
SELECT skene_consume('e8', 'export');
BEGIN;
DELETE FROM skene.usage_events WHERE user_id = 'e8';
DELETE FROM skene.usage WHERE user_id = 'e8';
SELECT used FROM skene_check('e8', 'export');
SELECT skene_consume('e8', 'export', 3), skene_consume('e8', 'export'), skene_refund('e8', 'export');
PREPARE TRANSACTION 'by_hand';
SELECT used FROM skene_check('e8', 'export');
INSERT INTO skene.usage_events VALUES ('e8', 'export', 'lifetime', '-infinity', 'infinity', 2);
SELECT skene_consume('e8', 'export'), (SELECT used FROM skene_check('e8', 'export'));
COPY skene.usage_events (user_id, feature, period, window_start, window_end, amount) FROM STDIN;
e8	export	lifetime	-infinity	infinity	-1
\.
SELECT skene_consume('e8', 'export'), skene_consume('e8', 'export');
-- in this order, which is the fold's
TRUNCATE skene.usage_events, skene.usage;
SELECT skene_consume('e8', 'export', 3), skene_consume('e8', 'export');
SELECT * FROM skene_audit();

-- Looking in the leader of a parallel query, at what is not in shared memory yet.
CREATE TABLE many AS SELECT i FROM generate_series(1, 1000) i;
ALTER TABLE many SET (parallel_workers = 2);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT count(*), skene_allows('e9', 'export') FROM many;
SELECT count(*), skene_allows('e9', 'export') FROM many;
SELECT n, allowed, used FROM (SELECT count(*) AS n FROM many) AS m, skene_check('e9', 'api') WHERE n > 0;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

DROP TABLE many;
DROP FUNCTION used, attempt;
SET client_min_messages = warning;
DROP EXTENSION skene_gate;
