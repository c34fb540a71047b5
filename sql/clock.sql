-- clock.sql: skene_gate.clock_offset lets tests of an application travel in time, and
-- nobody else.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS skene_gate;
CREATE EXTENSION skene_gate;
RESET client_min_messages;
SELECT count(*) > 0 AS configured FROM skene_apply('{
  "plans": {"free": {"default": true}, "pro": {"rank": 1}, "trial": {"rank": 2}},
  "features": {"export": {"limit": {"free": 1, "pro": 1, "trial": 3}, "period": "30d"},
               "sheet": {"limit": {"free": 1}, "period": "year"},
               "seat": {"limit": {"free": 1}, "period": "lifetime"}}}');

-- 31 days on there is a new window; a day before it is still the old one.
SELECT skene_consume('c1', 'export'), skene_consume('c1', 'export');
SET skene_gate.clock_offset = '29d';
SELECT skene_consume('c1', 'export');
SET skene_gate.clock_offset = '31d';
SHOW skene_gate.clock_offset;
SELECT allowed, resets_at - clock_timestamp() BETWEEN interval '59 days' AND interval '60 days' AS in_60_days
  FROM skene_check('c1', 'export');
SELECT skene_consume('c1', 'export'), skene_consume('c1', 'export');
SELECT used, window_start > clock_timestamp() AS ahead FROM skene_usage('c1') WHERE feature = 'export';
SELECT retry_after BETWEEN 28 * 86400 AND 30 * 86400 AS retry
  FROM skene_decide('c1', 'export');
SELECT skene_consume('c1', 'seat'), skene_consume('c1', 'seat');
-- and a step is taken from now, not from where we are
SET skene_gate.clock_offset = '61d';
SELECT skene_consume('c1', 'export');
RESET skene_gate.clock_offset;
SELECT skene_allows('c1', 'export') AS the_present, skene_allows('c1', 'seat') AS for_life;
SELECT count(*) AS windows FROM skene.usage_totals WHERE user_id = 'c1' AND feature = 'export';

-- The past: also for a customer who is new there.
SET skene_gate.clock_offset = '-400d';
SELECT skene_consume('c2', 'sheet'), skene_consume('c2', 'sheet');
DO $wait$ BEGIN -- the worker makes the row
    FOR i IN 1..3000 LOOP
        EXIT WHEN EXISTS (SELECT FROM skene.customers WHERE user_id = 'c2');
        PERFORM pg_sleep(0.01);
    END LOOP;
END $wait$;
SELECT anchor < clock_timestamp() - interval '399 days' AS long_ago FROM skene.customers WHERE user_id = 'c2';
RESET skene_gate.clock_offset;
SELECT skene_consume('c2', 'sheet');

-- Plans, overrides and grace run out on the way.
SELECT skene_set_plan('c3', 'trial', clock_timestamp() + interval '14 days');
SELECT skene_override('c4', 'export', 9, clock_timestamp() + interval '7 days');
INSERT INTO skene.subscriptions (subscription_id, user_id, source, plan, status, past_due_since)
VALUES ('sub_c5', 'c5', 'stripe', 'pro', 'past_due', clock_timestamp());
SELECT f.user_id, c.plan, c.usage_limit FROM unnest('{c3,c4,c5}'::text[]) AS f (user_id), skene_check(user_id, 'export') c;
SET skene_gate.clock_offset = '15d';
SELECT f.user_id, c.plan, c.usage_limit FROM unnest('{c3,c4,c5}'::text[]) AS f (user_id), skene_check(user_id, 'export') c;
RESET skene_gate.clock_offset;

-- Of a transaction, as any setting.
BEGIN;
SET LOCAL skene_gate.clock_offset = '1h';
SELECT skene.gate_time() - clock_timestamp() BETWEEN interval '3599 s' AND interval '3600 s' AS an_hour_on;
ROLLBACK;
SELECT skene.gate_time() - clock_timestamp() BETWEEN interval '-1 s' AND interval '0 s' AS now;

-- Not while mail goes out, whichever setting comes first.
SET skene_gate.clock_offset = '31d';
SET skene_gate.delivery = 'on';
SELECT skene.gate_time() - clock_timestamp() BETWEEN interval '-1 s' AND interval '0 s' AS now,
       skene_allows('c1', 'export');
SET skene_gate.clock_offset = 0;
SET skene_gate.clock_offset = '31d';
\echo :LAST_ERROR_SQLSTATE
SET skene_gate.delivery = 'capture';

-- Not by everybody: who could move the clock could have a new window.
CREATE ROLE regress_skene_tester;
SELECT skene_grant_role('regress_skene_tester', 'app');
SELECT skene_grant_role('regress_skene_tester', 'admin');
SET ROLE regress_skene_tester;
SET skene_gate.clock_offset = '31d';
RESET ROLE;
GRANT SET ON PARAMETER skene_gate.clock_offset TO regress_skene_tester;
SET ROLE regress_skene_tester;
SET skene_gate.clock_offset = '91d';
SELECT skene_consume('c1', 'export'), skene_consume('c1', 'export');
RESET skene_gate.clock_offset;
RESET ROLE;
SET skene_gate.clock_offset = '11y';
\set VERBOSITY sqlstate
SET skene_gate.clock_offset = '3651d';
\set VERBOSITY default
REVOKE SET ON PARAMETER skene_gate.clock_offset FROM regress_skene_tester;
SELECT skene.gate_time() - clock_timestamp() BETWEEN interval '-1 s' AND interval '0 s' AS now;

SET client_min_messages = warning;
DROP EXTENSION skene_gate;
DROP OWNED BY regress_skene_tester;
DROP ROLE regress_skene_tester;
