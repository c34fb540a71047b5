-- reset.sql: skene_reset forgets what customers did, and only that. What it does to denials
-- that are not yet written down, and to a worker at work, is in test/t/007_tests_of_users.pl.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS skene_gate;
CREATE EXTENSION skene_gate;
RESET client_min_messages;
\set SHOW_CONTEXT never
SELECT count(*) > 0 AS configured FROM skene_apply('{
  "plans": {"free": {"default": true}, "pro": {"rank": 1}},
  "features": {"export": {"limit": {"free": 2, "pro": 20}, "period": "lifetime"},
               "sheet": {"limit": {"free": 2}, "period": "lifetime"}}}');

-- Two customers who did the same.
CREATE FUNCTION use(customer text) RETURNS void LANGUAGE sql AS $$
    SELECT skene_identify(customer, customer || '@example.com');
    SELECT skene_consume(customer, 'export', 1, 'key-1'), skene_consume(customer, 'sheet');
    SELECT skene_override(customer, 'sheet', 5);
    SELECT skene.write_prompt(customer, 'export', 'lifetime', '-infinity', 'infinity', 'limit_reached',
                              'free', 3, now(), now());
    SELECT skene_set_plan(customer, 'pro');
$$;
CREATE VIEW left_of AS
SELECT c.user_id, (SELECT sum(t.used) FROM skene.usage_totals t WHERE t.user_id = c.user_id) AS used,
       (SELECT count(*) FROM skene.idempotency_keys k WHERE k.user_id = c.user_id) AS keys,
       (SELECT count(*) FROM skene.prompts p WHERE p.user_id = c.user_id) AS prompts,
       (SELECT count(*) FROM skene.mailbox m WHERE m.user_id = c.user_id) AS mail,
       (SELECT count(*) FROM skene.overrides o WHERE o.user_id = c.user_id) AS overrides,
       (SELECT count(*) FROM skene.conversions v WHERE v.user_id = c.user_id) AS conversions,
       (SELECT plan FROM skene.plan_of(c.user_id)) AS plan
  FROM skene.customers c ORDER BY c.user_id;
SELECT use('r1'), use('r2');
SELECT * FROM left_of;

-- One of them.
SELECT skene_reset('r1');
SELECT * FROM left_of;
SELECT skene_consume('r1', 'export', 2, 'key-1') AS key_is_free;
SELECT anchor < clock_timestamp() AS anchored FROM skene.customers WHERE user_id = 'r1';

-- Not if the transaction rolls back.
BEGIN;
SELECT skene_reset();
SELECT * FROM left_of;
ROLLBACK;
SELECT * FROM left_of;

-- Mail that left, or is about to, stays; any other goes.
DELETE FROM skene.outbox;
INSERT INTO skene.outbox (provider, path, body, idempotency_key, state, user_id)
SELECT 'resend', '/emails', '{}', state, state, 'r2'
  FROM unnest('{pending,leased,sent,captured,dead,held,cancelled}'::text[]) AS state;
SELECT skene_reset('r1');
SELECT count(*) FROM skene.outbox;
SELECT skene_reset('r2');
SELECT state FROM skene.outbox ORDER BY 1;

-- All.
SELECT use('r1'), use('r2');
SELECT skene_reset();
SELECT * FROM left_of;
SELECT state FROM skene.outbox ORDER BY 1;
SELECT feature FROM skene.features ORDER BY 1;
SELECT skene_reset('nobody');

-- Ids as everywhere.
SELECT skene_consume('00000000-0000-0000-0000-00000000000a'::uuid, 'export'), skene_consume(7, 'export');
SELECT skene_reset('00000000-0000-0000-0000-00000000000A'::uuid), skene_reset(7);
SELECT count(*) FROM skene.usage_totals;

-- Bad input, and what would be a mistake. A null that was meant to be an id resets nobody.
SELECT use('r1');
SELECT skene_reset(NULL::text);
SELECT skene_reset(NULL::uuid);
SELECT skene_reset('');
SET skene_gate.delivery = 'on';
SELECT skene_reset('r1');
SELECT skene_reset();
\echo :LAST_ERROR_SQLSTATE
SET skene_gate.delivery = 'off';
SELECT used, prompts FROM left_of WHERE user_id = 'r1';
CREATE ROLE regress_skene_app;
SELECT skene_grant_role('regress_skene_app', 'app');
SET ROLE regress_skene_app;
SELECT skene_reset();
SELECT skene_reset('r1');
SELECT skene_reset(7);
RESET ROLE;
CREATE ROLE regress_skene_admin;
SELECT skene_grant_role('regress_skene_admin', 'admin');
SET ROLE regress_skene_admin;
SELECT skene_reset('r1');
RESET ROLE;
SELECT used, prompts FROM left_of WHERE user_id = 'r1';
RESET skene_gate.delivery;

SET client_min_messages = warning;
DROP VIEW left_of;
DROP FUNCTION use(text);
DROP EXTENSION skene_gate;
DROP OWNED BY regress_skene_app, regress_skene_admin;
DROP ROLE regress_skene_app, regress_skene_admin;
