-- roles.sql: what each kind of role may do, and nothing more.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS skene_gate;
CREATE EXTENSION skene_gate;
RESET client_min_messages;
\set SHOW_CONTEXT never
SELECT count(*) > 0 AS configured FROM skene_apply('{
  "features": {"export": {"limit": {"free": 2, "paid": null}, "period": "lifetime", "endpoints": ["GET /export"]}}}');
CREATE ROLE regress_skene_app;
CREATE ROLE regress_skene_user;
CREATE ROLE regress_skene_hook;
CREATE ROLE regress_skene_viewer;
CREATE ROLE regress_skene_backup;
CREATE ROLE regress_skene_admin;
CREATE ROLE regress_skene_nobody;
SELECT skene_grant_role(('regress_skene_' || kind)::name, kind)
  FROM unnest('{app,user,hook,viewer,backup,admin}'::text[]) AS kind;

-- Every function of the extension and who may call it.
\pset format unaligned
SELECT p.proname, coalesce(string_agg(DISTINCT substr(r.rolname, 15), ' '), '') AS may_call
  FROM pg_depend d
  JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'skene_gate'
  JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
  LEFT JOIN pg_roles r ON r.rolname ~ '^regress_skene_' AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
 WHERE d.deptype = 'e' AND p.proname LIKE 'skene%'
 GROUP BY p.proname ORDER BY p.proname COLLATE "C";
SELECT count(*) AS internals_anybody_may_call
  FROM pg_proc p, pg_roles r
 WHERE p.pronamespace = 'skene'::regnamespace AND r.rolname ~ '^regress_skene_'
   AND has_function_privilege(r.oid, p.oid, 'EXECUTE');
SELECT c.relname, string_agg(substr(r.rolname, 15), ' ' ORDER BY r.rolname) AS may_read
  FROM pg_class c JOIN pg_roles r ON r.rolname ~ '^regress_skene_'
 WHERE c.relnamespace = 'skene'::regnamespace AND c.relkind IN ('r', 'v', 'S')
   AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(r.oid, c.oid, 'SELECT') ELSE has_table_privilege(r.oid, c.oid, 'SELECT') END
 GROUP BY c.relname ORDER BY c.relname COLLATE "C";
SELECT count(*) AS anybody_may_write
  FROM pg_class c JOIN pg_roles r ON r.rolname ~ '^regress_skene_'
 WHERE c.relnamespace = 'skene'::regnamespace AND c.relkind = 'r'
   AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES');
\pset format aligned

-- A back end counts and never sees a table.
SET ROLE regress_skene_app;
SELECT skene_consume('r1', 'export'), skene_allows('r1', 'export'), skene_refund('r1', 'export');
SELECT allowed FROM skene_decide('r1', 'export');
SELECT allowed FROM skene_consume_request('r1', 'GET', '/export');
SELECT skene_require('r1', 'export');
SELECT feature, used FROM skene_usage('r1');
SELECT skene_identify('r1', 'r1@example.com');
SELECT skene_identify(42, 'r42@example.com');
SELECT * FROM skene.usage;
SELECT skene_set_plan('r1', 'paid');
SELECT skene_apply('{}');
SELECT skene.apply_stripe_event('{}');
SELECT skene_grant_role('regress_skene_app', 'admin');
SELECT skene_stripe_webhook('{}'::text, 't=1,v1=00');
-- errors of the functions leave the role in place
SELECT current_user, session_user = current_user AS superuser;

SELECT skene_unsubscribe('no-such-token');

-- A browser's role acts for the JWT's customer only.
SET ROLE regress_skene_user;
SELECT skene_my_consume('export');
SELECT set_config('request.jwt.claims', '', false), skene_my_consume('export');
SELECT set_config('request.jwt.claims', '{"role": "authenticated"}', false);
SELECT skene_my_consume('export');
SELECT set_config('request.jwt.claims', 'nonsense', false);
SELECT skene_my_consume('export');
SELECT set_config('request.jwt.claims', '{"sub": "browser-1"}', false);
SELECT skene_my_consume('export'), skene_my_consume('export', 1, 'key'), skene_my_consume('export', 1, 'key'), skene_my_consume('export');
SELECT allowed, reason, used FROM skene_my_check('export');
SELECT feature, used, remaining FROM skene_my_usage();
SELECT skene_consume('browser-2', 'export');
SELECT skene_usage('browser-2');
-- a policy that asks the gate
RESET ROLE;
CREATE TABLE exports (owner text);
ALTER TABLE exports ENABLE ROW LEVEL SECURITY;
CREATE POLICY within_limit ON exports FOR INSERT TO regress_skene_app WITH CHECK (skene_allows(owner, 'export'));
GRANT INSERT ON exports TO regress_skene_app;
SET ROLE regress_skene_app;
INSERT INTO exports VALUES ('r3');
INSERT INTO exports VALUES ('browser-1');
INSERT INTO exports VALUES (NULL);

-- PostgREST's anonymous role delivers webhooks and nothing else.
SET ROLE regress_skene_hook;
SELECT set_config('request.headers', '{"stripe-signature": "t=1,v1=00"}', false);
BEGIN;
SELECT skene_stripe_hook('{"id": "evt_1"}');
SELECT current_setting('response.status');
COMMIT;
SELECT set_config('request.headers', '{}', false);
BEGIN;
SELECT skene_stripe_hook('{"id": "evt_1"}');
SELECT current_setting('response.status');
COMMIT;
SELECT skene_unsubscribe('no-such-token');
SELECT skene_stripe_webhook('{}'::text, 't=1,v1=00');
SELECT skene_consume('r1', 'export');
SELECT skene_my_consume('export');

-- Figures without personal data.
SET ROLE regress_skene_viewer;
SELECT feature, conversions FROM skene.funnel;
SELECT fenced FROM skene_status();
SELECT * FROM skene.outbox_stats WHERE provider = 'stripe';
SELECT * FROM skene.customers;
SELECT * FROM skene.mailbox;
SELECT * FROM skene.usage_totals;

-- What pg_dump reads.
RESET ROLE;
DO $wait$ BEGIN -- the worker makes the rows
    FOR i IN 1..3000 LOOP
        EXIT WHEN EXISTS (SELECT FROM skene.customers WHERE user_id = 'browser-1');
        PERFORM pg_sleep(0.01);
    END LOOP;
END $wait$;
SET ROLE regress_skene_backup;
SELECT user_id FROM skene.customers ORDER BY 1;
SELECT last_value > 0 AS readable FROM skene.prompts_prompt_id_seq;
DELETE FROM skene.customers;
SELECT skene_consume('r1', 'export');

-- Operation and configuration.
SET ROLE regress_skene_admin;
SELECT skene_set_plan('r1', 'paid');
SELECT skene_set_plan(42, 'paid');
SELECT skene_override('r1', 'export', 5);
SELECT count(*) FROM skene_apply('{"settings": {"productName": "Regress"}}');
SELECT skene_pause('resend');
SELECT paused FROM skene_status();
SELECT skene_resume();
SELECT paused FROM skene_status();
SELECT skene_consume('r1', 'export');
SELECT skene_grant_role('regress_skene_nobody', 'app');

SET ROLE regress_skene_nobody;
SELECT skene_consume('r1', 'export');
SELECT skene_allows('r1', 'export');
SELECT * FROM skene.plans;
-- settings are for superusers
\set VERBOSITY sqlstate
SET skene_gate.delivery = 'on';
SHOW skene_gate.stripe_webhook_secret_file;
\set VERBOSITY default
RESET ROLE;

-- Roles reached from browsers must not act for any customer.
BEGIN;
CREATE ROLE anon;
SELECT skene_grant_role('anon', 'app');
SELECT skene_grant_role('anon', 'hook');
ROLLBACK;

DROP TABLE exports;
DROP OWNED BY regress_skene_app, regress_skene_user, regress_skene_hook, regress_skene_viewer, regress_skene_backup, regress_skene_admin;
DROP ROLE regress_skene_app, regress_skene_user, regress_skene_hook, regress_skene_viewer, regress_skene_backup, regress_skene_admin,
          regress_skene_nobody;
