-- search_path.sql: a role that puts its own functions, operators and types before those
-- of pg_catalog gains nothing and changes no answer.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS skene_gate;
CREATE EXTENSION skene_gate;
RESET client_min_messages;
\set SHOW_CONTEXT never
SELECT count(*) > 0 AS configured FROM skene_apply('{
  "plans": {"free": {"default": true}, "pro": {"rank": 1, "prices": ["price_pro"]}},
  "features": {"export": {"limit": {"free": 3, "pro": 10}, "period": "year", "endpoints": ["GET /export"],
                          "prompt": {"type": "email"}}},
  "settings": {"timeZone": "Europe/Berlin"}}');
CREATE ROLE regress_skene_eve;
SELECT skene_grant_role('regress_skene_eve', kind) FROM unnest('{app,user,hook,viewer,admin}'::text[]) AS kind;
CREATE SCHEMA trap AUTHORIZATION regress_skene_eve;

-- Every trap writes down as whom it ran, then answers wrongly.
SET ROLE regress_skene_eve;
CREATE TABLE trap.caught (function text, ran_as name);
CREATE FUNCTION trap.spring(name text) RETURNS void LANGUAGE plpgsql SET search_path TO pg_catalog AS
$$ BEGIN INSERT INTO trap.caught VALUES (name, current_user); END $$;
CREATE FUNCTION trap.text_eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('= text'); RETURN false; END $$;
CREATE OPERATOR trap.= (FUNCTION = trap.text_eq, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR trap.<> (FUNCTION = trap.text_eq, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR trap.|| (FUNCTION = trap.text_eq, LEFTARG = text, RIGHTARG = text);
CREATE FUNCTION trap.bigint_le(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('<= bigint'); RETURN true; END $$;
CREATE OPERATOR trap.<= (FUNCTION = trap.bigint_le, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR trap.> (FUNCTION = trap.bigint_le, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR trap.>= (FUNCTION = trap.bigint_le, LEFTARG = bigint, RIGHTARG = bigint);
CREATE FUNCTION trap.bigint_mi(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('- bigint'); RETURN 0; END $$;
CREATE OPERATOR trap.- (FUNCTION = trap.bigint_mi, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR trap.+ (FUNCTION = trap.bigint_mi, LEFTARG = bigint, RIGHTARG = bigint);
CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('clock_timestamp'); RETURN 'infinity'; END $$;
CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('now'); RETURN 'infinity'; END $$;
CREATE FUNCTION trap.current_setting(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('current_setting'); RETURN '100 years'; END $$;
CREATE FUNCTION trap.current_setting(text, boolean) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('current_setting'); RETURN '{"sub": "victim"}'; END $$;
CREATE FUNCTION trap.octet_length(text) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('octet_length'); RETURN 1; END $$;
CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('lower'); RETURN ''; END $$;
CREATE FUNCTION trap.unnest(text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('unnest'); RETURN NEXT 'GET /'; END $$;
CREATE FUNCTION trap.jsonb_array_elements(jsonb) RETURNS SETOF jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('jsonb_array_elements'); END $$;
CREATE FUNCTION trap.to_timestamp(bigint) RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('to_timestamp'); RETURN 'infinity'; END $$;
CREATE FUNCTION trap.json_build_object(text, text) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('json_build_object'); RETURN '{}'; END $$;
CREATE FUNCTION trap.format(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM trap.spring('format'); RETURN ''; END $$;
CREATE TABLE trap.usage AS SELECT ''::text AS user_id;
CREATE TABLE trap.features AS SELECT 'trap'::text AS feature;
CREATE TABLE trap.plans AS SELECT 'trap'::text AS plan;
-- the traps work
SET search_path = trap, pg_catalog, public;
SELECT 'a'::text = 'a'::text AS answer, clock_timestamp();
SELECT DISTINCT function, ran_as FROM trap.caught;
TRUNCATE trap.caught;

-- Everything the role may call.
SELECT skene_consume('v1', 'export'), skene_consume('v1', 'export', 2), skene_consume('v1', 'export');
SELECT skene_consume('AB54A98C-0000-0000-0000-00000000ABCD'::uuid, 'export', 1, 'key'), skene_consume(42::bigint, 'export');
SELECT allowed, used, plan FROM skene_decide('v2', 'export', 1, 'key');
SELECT allowed, used, replayed FROM skene_decide('v2', 'export', 1, 'key');
SELECT allowed, used, replayed FROM skene_consume_request('v2', 'GET', '/export', 1, 'key2');
SELECT allowed, reason, used, upgrade_plan FROM skene_check('v1', 'export');
SELECT skene_allows('v1', 'export'), skene_allows('v2', 'export'), skene_refund('v2', 'export', 1, 'key');
\set VERBOSITY terse
SELECT skene_require('v1', 'export', 4);
\set VERBOSITY default
SELECT feature, used, remaining FROM skene_usage('v2');
SELECT skene_identify('v2', 'v2@example.com', name => 'V', attributes => '{"a": 1}', stripe_customer_id => 'cus_v2', time_zone => 'UTC');
SELECT skene_identify(42::bigint, 'v42@example.com');
SELECT skene_set_plan('v1', 'pro', reason => 'test');
SELECT skene_set_plan('v1', 'nonsense');
SELECT skene_set_plan(42::bigint, 'pro');
SELECT skene_override('v1', 'export', 20);
SELECT allowed, usage_limit FROM skene_check('v1', 'export');
SELECT object, name, action FROM skene_apply('{"plans": {"free": {"default": true}, "pro": {"rank": 3, "prices": ["price_pro"]}}}');
SELECT skene_apply('{"settings": {"timeZone": "Mars/Olympus"}}');
SELECT set_config('request.jwt.claims', '{"sub": "v3"}', false);
SELECT skene_my_consume('export');
SELECT allowed, used FROM skene_my_check('export');
SELECT feature, used FROM skene_my_usage();
SELECT set_config('request.headers', '{"stripe-signature": "t=1,v1=00"}', false);
SELECT skene_stripe_hook('{}');
SELECT skene_stripe_webhook('{}'::text, 't=1,v1=00');
SELECT skene_pause('resend'), skene_resume('resend'), skene_retry(4711), skene_cancel(4711);
SELECT paused, unmatched_subscriptions FROM skene_status();
SELECT feature FROM skene.funnel;
RESET search_path;

-- The traps caught nobody, or the role itself.
SELECT DISTINCT function, ran_as FROM trap.caught;
RESET ROLE;
SELECT user_id, feature, used FROM skene.usage_totals ORDER BY user_id COLLATE "C";
-- the worker makes the rows
DO $wait$ BEGIN
    FOR i IN 1..3000 LOOP
        EXIT WHEN (SELECT count(*) = 5 FROM skene.customers);
        PERFORM pg_sleep(0.01);
    END LOOP;
END $wait$;
SELECT user_id, anchor <= clock_timestamp() AS anchored FROM skene.customers ORDER BY user_id COLLATE "C";

-- Nor do they catch triggers that the owner's own writes run.
SET search_path = trap, pg_catalog, public;
INSERT INTO skene.prompts (user_id, feature, period, window_start, window_end, kind, plan, first_denied_at, last_denied_at)
VALUES ('v2', 'export', 'year', '2026-01-01+00', '2027-01-01+00', 'limit_reached', 'free', '2026-01-02+00', '2026-01-02+00');
RESET search_path;
SELECT to_address, subject FROM skene.mailbox WHERE user_id = 'v2';
SELECT DISTINCT function, ran_as FROM trap.caught;

-- Whatever a session sets, it is in the same window.
SELECT skene_consume('v4', 'export');
SET ROLE regress_skene_eve;
SET TimeZone = 'Pacific/Kiritimati';
SET DateStyle = 'German, YMD';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = 0;
SET bytea_output = 'escape';
SET standard_conforming_strings = off;
SET array_nulls = off;
SET transform_null_equals = on;
SET plan_cache_mode = force_custom_plan;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SET row_security = off;
SET check_function_bodies = off;
SET default_transaction_isolation = 'repeatable read';
SET quote_all_identifiers = on;
SELECT skene_consume('v4', 'export', 1);
SELECT feature, used FROM skene_usage('v4');
SELECT allowed, used FROM skene_decide('v4', 'export');
RESET ROLE;
SELECT count(*) AS windows, sum(used) AS used FROM skene.usage_totals WHERE user_id = 'v4';
RESET ALL;

SET client_min_messages = warning;
DROP SCHEMA trap CASCADE;
DROP OWNED BY regress_skene_eve;
DROP ROLE regress_skene_eve;
