-- consume.sql: counting and looking, in every way an application calls.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS skene_gate;
CREATE EXTENSION skene_gate;
RESET client_min_messages;
\set SHOW_CONTEXT never
SELECT count(*) > 0 AS configured FROM skene_apply('{
  "plans": {"free": {"default": true}, "pro": {"rank": 1}, "max": {"rank": 2}},
  "features": {
    "export":  {"limit": {"free": 3, "pro": 10, "max": null}, "period": "lifetime", "message": "No exports left."},
    "search":  {"limit": {"free": null, "pro": null, "max": null}, "period": "30d"},
    "reports": {"limit": {"pro": 2}, "period": "lifetime"},
    "api":     {"limit": {"free": 1000}, "period": "lifetime",
                "endpoints": ["GET /api/*", "POST /api/export/*", "GET /api/export/pdf"]},
    "pdf":     {"limit": {"free": 1}, "period": "lifetime", "endpoints": ["GET /pdf/*"]}},
  "settings": {"upgradeUrl": "https://example.com/upgrade"}}');

-- Units counted, of all windows.
CREATE FUNCTION used(customer text, counted text) RETURNS numeric LANGUAGE sql AS
$$ SELECT coalesce(sum(used), 0) FROM skene.usage_totals WHERE user_id = $1 AND feature = $2 $$;

-- Up to the limit and not beyond.
SELECT skene_allows('u1', 'export'), skene_consume('u1', 'export'), used('u1', 'export');
SELECT skene_consume('u1', 'export', 3), skene_consume('u1', 'export', 2), skene_consume('u1', 'export');
SELECT skene_allows('u1', 'export'), used('u1', 'export');
\x on
SELECT * FROM skene_decide('u1', 'export');
SELECT * FROM skene_check('u1', 'export');
SELECT * FROM skene_decide('u2', 'export', 2);
SELECT * FROM skene_check('u2', 'export', 2);
SELECT allowed, reason, used, usage_limit, remaining, plan FROM skene_decide('u1', 'search', 100);
SELECT allowed, reason, used, usage_limit, remaining, plan, upgrade_plan, message FROM skene_decide('u1', 'reports');
\x off
SELECT skene_require('u1', 'search');
SELECT skene_require('u1', 'export');
SELECT skene_require('u1', 'reports');
\set VERBOSITY sqlstate
SELECT skene_require('u1', 'export');
\set VERBOSITY default
SELECT feature, period, used, usage_limit, remaining, plan, entitled FROM skene_usage('u1');
SELECT feature, used, remaining FROM skene_usage('never seen') WHERE used > 0;

-- Giving back.
SELECT skene_refund('u1', 'export', 2), skene_consume('u1', 'export', 2);
SELECT skene_refund('u1', 'search'), used('u1', 'search');
SELECT skene_refund('u1', 'export', 4);
SELECT skene_refund('never seen', 'export');
SELECT used('u1', 'export');

-- A limit of one customer's own, while it lasts.
SELECT skene_override('u3', 'export', 5, reason => 'goodwill');
SELECT allowed, used, usage_limit FROM skene_decide('u3', 'export', 5);
SELECT skene_override('u3', 'export', NULL);
SELECT allowed, reason, usage_limit FROM skene_decide('u3', 'export', 100);
SELECT skene_override('u3', 'export', 500, expires_at => now() - interval '1 second');
SELECT allowed, reason, used, usage_limit, remaining FROM skene_check('u3', 'export');
SELECT skene_override('u3', 'reports', 1);
SELECT skene_consume('u3', 'reports'), skene_consume('u3', 'reports');
SELECT skene_override('u3', 'export', 7);
SELECT usage_limit FROM skene_check('u3', 'export');
-- more of them than a session remembers what to say of
SELECT count(skene_override('o' || g, 'export', g)) FROM generate_series(1, 1100) g;
SELECT d.upgrade_plan, d.message, min(d.usage_limit), max(d.usage_limit), count(*)
  FROM generate_series(1, 1100) g, skene_check('o' || g, 'export', g + 1) d
 WHERE NOT d.allowed GROUP BY 1, 2 ORDER BY 1 DESC;
TRUNCATE skene.overrides;
SELECT usage_limit FROM skene_check('u3', 'export');

-- Plans, both ways; what was used is carried along.
SELECT skene_set_plan('u1', 'pro');
SELECT allowed, used, usage_limit, remaining, plan FROM skene_decide('u1', 'export', 5);
SELECT skene_set_plan('u1', 'max', reason => 'invoice 17');
SELECT allowed, reason, used, usage_limit, plan FROM skene_decide('u1', 'export', 50);
SELECT skene_set_plan('u1', NULL);
SELECT allowed, reason, used, usage_limit, remaining, plan, upgrade_plan FROM skene_decide('u1', 'export');
SELECT skene_set_plan('u1', 'pro', ends_at => now() - interval '1 second');
SELECT plan, upgrade_plan FROM skene_check('u1', 'export');
SELECT skene_set_plan('u1', 'gold');
SELECT kind, from_plan, to_plan FROM skene.conversions WHERE user_id = 'u1' ORDER BY conversion_id;

-- Part of the caller's transaction: rollback and savepoints give units back.
BEGIN;
SELECT skene_consume('t1', 'export');
SAVEPOINT a;
SELECT skene_consume('t1', 'export', 2), skene_consume('t1', 'export');
ROLLBACK TO a;
SELECT used('t1', 'export'), skene_consume('t1', 'export');
RELEASE a;
SELECT used('t1', 'export');
COMMIT;
SELECT used('t1', 'export');
BEGIN;
SELECT skene_consume('t1', 'export');
ROLLBACK;
BEGIN;
SELECT skene_consume('t2', 'export');
ROLLBACK;
SELECT used('t1', 'export'), used('t2', 'export'), (SELECT count(*) FROM skene.customers WHERE user_id = 't2') AS customer_rows;

DO $$
BEGIN
    PERFORM skene_require('t3', 'export', 2);
    BEGIN
        PERFORM skene_require('t3', 'export');
        RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
        RAISE NOTICE 'given back: % used', used('t3', 'export');
    END;
    BEGIN
        PERFORM skene_require('t3', 'export', 2);
    EXCEPTION WHEN SQLSTATE 'PT402' THEN
        RAISE NOTICE '%: %', SQLSTATE, SQLERRM;
    END;
END $$;

-- Inside other statements.
CREATE TABLE projects (id integer, owner text);
INSERT INTO projects SELECT 1, 'p1' WHERE skene_consume('p1', 'export', 2);
INSERT INTO projects SELECT 2, 'p1' WHERE skene_consume('p1', 'export', 2);
SELECT * FROM projects;
SELECT skene_consume('p2', 'export') AS first, skene_consume('p2', 'export') AS second, skene_refund('p2', 'export') AS left_over;
SELECT count(*) FILTER (WHERE skene_consume('p3', 'export')) AS admitted FROM generate_series(1, 10);
SELECT g, d.allowed, d.used FROM generate_series(1, 4) g, skene_decide('p4', 'export', g - g + 1) d;
-- a condition that is cheaper goes first
SELECT count(*) FROM generate_series(1, 10) g WHERE skene_consume('p5', 'export') AND g > 100;
SELECT used('p5', 'export');
-- one for each of many customers
SELECT count(*) FILTER (WHERE skene_consume('many-' || g, 'export')) FROM generate_series(1, 100) g;
CREATE FUNCTION gate_project() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM skene_require(NEW.owner, 'export'); RETURN NEW; END $$;
CREATE TRIGGER gate BEFORE INSERT ON projects FOR EACH ROW EXECUTE FUNCTION gate_project();
INSERT INTO projects SELECT g, 'p6' FROM generate_series(10, 13) g;
INSERT INTO projects SELECT g, 'p6' FROM generate_series(10, 12) g;
SELECT count(*), used('p6', 'export') FROM projects WHERE owner = 'p6';
DROP TABLE projects;

-- A row function outside FROM would run once for each of its columns.
SELECT skene_decide('r1', 'export');
SELECT (skene_check('r1', 'export')).*;
SELECT (skene_consume_request('r1', 'GET', '/api/1')).allowed;
SELECT used('r1', 'export');
SELECT d.allowed FROM (SELECT) AS one, LATERAL skene_decide('r1', 'export') d;

-- Ids of every type, named arguments and defaults.
SELECT skene_consume('ab54a98c-0000-0000-0000-00000000ABCD', 'export'), -- unknown: text, as it is
       skene_consume('ab54a98c-0000-0000-0000-00000000ABCD'::uuid, 'export'),
       skene_consume(42, 'export'), skene_consume(42::bigint, 'export'), skene_consume(42::smallint, 'export'),
       skene_consume('42'::varchar, 'export'), skene_consume('name'::name, 'export');
SELECT user_id, used FROM skene.usage_totals WHERE user_id ~* '^(ab54|42|name)' ORDER BY 1;
-- and domains over them, from columns and parameters
CREATE DOMAIN account_uuid AS uuid;
CREATE DOMAIN account_number AS bigint CHECK (VALUE > 0);
CREATE DOMAIN account_name AS varchar(30);
CREATE TABLE accounts (id account_uuid, number account_number, name account_name);
INSERT INTO accounts VALUES ('ab54a98c-0000-0000-0000-00000000abcd', 42, 'name');
SELECT (SELECT used FROM skene_check(id, 'export')), (SELECT used FROM skene_check(number, 'export')),
       (SELECT used FROM skene_check(name, 'export')) FROM accounts;
PREPARE look(account_uuid, account_number, account_name) AS
SELECT a.used, b.used, c.used FROM skene_check($1, 'export') a, skene_check($2, 'export') b, skene_check($3, 'export') c;
EXECUTE look('ab54a98c-0000-0000-0000-00000000abcd', 42, 'name');
DEALLOCATE look;
DROP TABLE accounts;
DROP DOMAIN account_uuid, account_number, account_name;
SELECT skene_consume(user_id => 'n1', feature => 'export', amount => 2),
       skene_consume(feature => 'export', user_uuid => '00000000-0000-0000-0000-000000000001'),
       skene_consume(user_bigint => 7, feature => 'export', idempotency_key => 'k'),
       skene_allows(feature => 'export', user_id => 'n1', amount => 2);
SELECT allowed, used FROM skene_decide(user_uuid => '00000000-0000-0000-0000-000000000001', feature => 'export');
SELECT used FROM skene_usage(user_bigint => 7) WHERE feature = 'export';
\set VERBOSITY terse
SELECT skene_consume(1.5, 'export');
SELECT skene_consume('n1', 'export', 1.5);
\set VERBOSITY default

-- Prepared statements, generic plans, cursors, procedures.
PREPARE gate(text, bigint) AS SELECT skene_consume($1, 'export', $2);
EXECUTE gate('s1', 2);
SET plan_cache_mode = force_generic_plan;
EXECUTE gate('s1', 1);
EXECUTE gate('s1', 1);
RESET plan_cache_mode;
PREPARE decide AS SELECT allowed, used FROM skene_decide($1, $2);
EXECUTE decide('s2', 'export');
-- new limits reach prepared statements
UPDATE skene.entitlements SET usage_limit = 1 WHERE plan = 'free' AND feature = 'export';
EXECUTE decide('s2', 'export');
UPDATE skene.entitlements SET usage_limit = 3 WHERE plan = 'free' AND feature = 'export';
EXECUTE decide('s2', 'export');
DEALLOCATE ALL;
BEGIN;
DECLARE tries CURSOR FOR SELECT g, skene_consume('s3', 'export') FROM generate_series(1, 5) g;
FETCH 2 FROM tries;
SELECT used('s3', 'export');
FETCH ALL FROM tries;
COMMIT;
SELECT used('s3', 'export');
CREATE PROCEDURE batches() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..5 LOOP
        IF skene_consume('s4', 'export') THEN
            COMMIT;
        ELSE
            RAISE NOTICE 'round % is denied', i;
            ROLLBACK;
        END IF;
    END LOOP;
END $$;
CALL batches();
SELECT used('s4', 'export');
CREATE TEMP TABLE other (id text);
INSERT INTO other SELECT 's5' RETURNING skene_consume(id, 'export');
WITH gated AS (SELECT skene_consume('s5', 'export') AS ok) SELECT ok FROM gated;

-- Idempotency keys: a repeat is admitted and counts nothing.
SELECT allowed, used, replayed FROM skene_decide('i1', 'export', 1, 'key');
SELECT allowed, used, replayed FROM skene_decide('i1', 'export', 1, 'key');
SELECT skene_consume('i1', 'export', 1, 'key'), used('i1', 'export');
SELECT skene_consume('i1', 'export', 2, 'key');
-- each customer, feature and operation has keys of its own
SELECT skene_consume('i2', 'export', 2, 'key'), skene_consume('i1', 'pdf', 1, 'key'), skene_refund('i1', 'export', 1, 'key');
SELECT skene_refund('i1', 'export', 1, 'key');
SELECT skene_consume('i1', 'export', 2), skene_refund('i1', 'export', 1, 'key'), used('i1', 'export');
SELECT skene_refund('i1', 'export', 2, 'key');
-- the repeat of the last unit is admitted, another request is not
SELECT skene_consume('i1', 'export', 1, 'last');
SELECT skene_consume('i1', 'export', 1, 'last'), skene_consume('i1', 'export', 1, 'one more');
-- only admissions are kept
SELECT skene_refund('i1', 'export');
SELECT skene_consume('i1', 'export', 1, 'one more');
-- a rolled-back first use frees its key
BEGIN;
SELECT skene_consume('i3', 'export', 1, 'key');
ROLLBACK;
SELECT skene_consume('i3', 'export', 3, 'key'), used('i3', 'export');
-- twice in one statement
SELECT a.replayed, b.replayed, b.used FROM skene_decide('i4', 'export', 1, 'key') a, skene_decide('i4', 'export', 1, 'key') b;
-- a repeat needs no entitlement any more
SELECT skene_set_plan('i5', 'pro');
SELECT skene_consume('i5', 'reports', 1, 'key');
SELECT skene_set_plan('i5', NULL);
SELECT allowed, replayed FROM skene_decide('i5', 'reports', 1, 'key');

-- By request.
SELECT allowed, feature, used FROM skene_consume_request('q1', 'GET', '/api/7');
SELECT allowed, feature, used FROM skene_consume_request('q1', 'POST', '/api/export/7', 10, 'key');
SELECT allowed, feature, used, replayed FROM skene_consume_request('q1', 'POST', '/api/export/7', 10, 'key');
SELECT allowed, feature, used FROM skene_consume_request('q1', 'GET', '/pdf/7');
SELECT allowed, feature, used FROM skene_consume_request('q1', 'GET', '/pdf/7?page=2', 2);
-- other spellings of the path are no way around
SELECT path, allowed, feature FROM unnest(ARRAY['//pdf/7', '/x/../pdf/./7//', 'https://host/pdf/7']) path, skene_consume_request('q1', 'GET', path);
SELECT allowed, reason, feature, used, plan FROM skene_consume_request('q1', 'DELETE', '/api/7');
SELECT allowed, reason, feature, used, message FROM skene_consume_request('q1', 'GET', '/api/7/8', on_no_match => 'deny');
-- in a transaction that changes the configuration nothing of it is kept from step to step
BEGIN;
UPDATE skene.features SET message = 'No calls left.' WHERE feature = 'api';
SELECT allowed, reason, feature, used, upgrade_plan, message FROM skene_consume_request('q1', 'GET', '/api/8', 5000);
ROLLBACK;
SELECT * FROM skene_consume_request('q1', 'GET', '/elsewhere', on_no_match => 'error');
SELECT * FROM skene_consume_request('q1', 'GET', '/elsewhere', on_no_match => 'maybe');

-- Windows: a customer's own 30 days, the calendar's days in the configured zone.
SELECT count(*) > 0 AS configured FROM skene_apply('{
  "features": {
    "by_minute": {"limit": 5, "period": "minute"}, "by_hour": {"limit": 5, "period": "hour"},
    "by_day": {"limit": 5, "period": "day"}, "by_week": {"limit": 5, "period": "week"},
    "by_month": {"limit": 5, "period": "month"}, "by_year": {"limit": 5, "period": "year"},
    "by_30d": {"limit": 5, "period": "30d"}, "by_lifetime": {"limit": 5, "period": "lifetime"}},
  "settings": {"timeZone": "Asia/Kolkata"}}', prune => true);
SELECT skene_identify('w1', created_at => '2020-02-29 12:34:56+00');
SELECT feature,
       window_start <= clock_timestamp() AND resets_at > clock_timestamp() AS current,
       CASE WHEN period NOT IN ('30d', 'lifetime') THEN date_trunc(period, window_start, zone) = window_start END AS on_calendar,
       CASE WHEN period NOT IN ('30d', 'lifetime') THEN
           (window_start AT TIME ZONE zone + ('1 ' || period)::interval) AT TIME ZONE zone = resets_at END AS whole,
       CASE WHEN period = '30d' THEN extract(epoch FROM window_start - '2020-02-29 12:34:56+00') % (30 * 86400) = 0
                                     AND resets_at = window_start + interval '720 hours' END AS from_anchor
  FROM skene_usage('w1'),
       LATERAL (SELECT CASE WHEN period IN ('minute', 'hour') THEN 'UTC' ELSE 'Asia/Kolkata' END AS zone) AS z
 ORDER BY feature COLLATE "C";
-- identify never moves an anchor
SELECT skene_identify('w1', created_at => '2021-01-01 00:00+00');
SELECT anchor = '2020-02-29 12:34:56+00' AS unmoved FROM skene.customers WHERE user_id = 'w1';
SELECT skene_consume('w1', 'by_30d', 5), skene_consume('w1', 'by_30d');
-- whole seconds, rounded up: whoever waits so long is not too early
SELECT allowed, pg_typeof(retry_after), retry_after <= 720 * 60 * 60 AS within_the_window,
       retry_after >= extract(epoch FROM resets_at - clock_timestamp()) AS long_enough
  FROM skene_decide('w1', 'by_30d');
-- what an earlier window counted does not count now
BEGIN;
LOCK TABLE skene.usage_events IN SHARE ROW EXCLUSIVE MODE; -- no fold between the two
UPDATE skene.usage SET window_start = window_start - interval '720 hours', window_end = window_end - interval '720 hours'
 WHERE user_id = 'w1';
UPDATE skene.usage_events SET window_start = window_start - interval '720 hours', window_end = window_end - interval '720 hours'
 WHERE user_id = 'w1';
COMMIT;
SELECT skene_consume('w1', 'by_30d'), used('w1', 'by_30d');
-- a session's settings move no window
BEGIN;
SELECT extract(epoch FROM window_start) AS before FROM skene_usage('w1') WHERE feature = 'by_month' \gset
SET LOCAL TimeZone = 'Pacific/Kiritimati';
SET LOCAL DateStyle = 'German, YMD';
SET LOCAL IntervalStyle = 'sql_standard';
SET LOCAL lc_time = 'C';
SET LOCAL extra_float_digits = 0;
SET LOCAL timezone_abbreviations = 'Australia';
SET LOCAL lc_messages = 'C';
SELECT extract(epoch FROM window_start) AS after FROM skene_usage('w1') WHERE feature = 'by_month' \gset
COMMIT;
SELECT :before = :after AS unmoved;

-- Transactions that cannot count.
BEGIN READ ONLY;
SELECT skene_allows('w2', 'by_30d'), (SELECT allowed FROM skene_check('w2', 'by_30d'));
SELECT count(*) FROM skene_usage('w2');
SELECT skene_consume('w2', 'by_30d');
ROLLBACK;
BEGIN READ ONLY;
SELECT skene_refund('w2', 'by_30d');
ROLLBACK;

-- Two-phase commit is refused: nothing would settle what it reserved.
BEGIN;
SELECT skene_consume('w3', 'by_lifetime', 4), skene_consume('w3', 'by_lifetime', 4);
PREPARE TRANSACTION 'skene_consume';
SELECT used('w3', 'by_lifetime');
BEGIN;
SELECT skene_set_plan('w3', 'paid');
PREPARE TRANSACTION 'skene_plan';
BEGIN;
SELECT skene_allows('w3', 'by_lifetime', 4);
PREPARE TRANSACTION 'skene_look';
COMMIT PREPARED 'skene_look';

DROP FUNCTION used, gate_project;
DROP PROCEDURE batches;
