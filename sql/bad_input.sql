-- bad_input.sql: what nobody should pass. Each call fails with words that help, or
-- is denied, and changes nothing.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS skene_gate;
CREATE EXTENSION skene_gate;
RESET client_min_messages;
SELECT count(*) > 0 AS configured FROM skene_apply('{
  "plans": {"free": {"default": true}, "pro": {"rank": 1}},
  "features": {
    "export": {"limit": {"free": 3, "pro": 10}, "period": "lifetime", "endpoints": ["GET /export"]},
    "search": {"limit": {"free": null, "pro": null}, "period": "lifetime"}}}');

-- Run a statement and say how it failed.
CREATE FUNCTION fails(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    message  text;
    detail   text;
    hint     text;
BEGIN
    EXECUTE statement;
    RETURN 'did not fail';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(E'\n    ', SQLSTATE || ' ' || message, nullif(detail, ''), nullif(hint, ''));
END $$;

-- All that is stored, except prompts, which a denial is meant to make; of usage the sum,
-- for the worker folds one table into the other.
CREATE FUNCTION contents() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    relation  regclass;
    rows      text;
    found     text := '';
BEGIN
    FOR relation IN SELECT oid FROM pg_class
                     WHERE relnamespace = 'skene'::regnamespace
                       AND (relkind = 'r' AND relname NOT IN ('prompts', 'outbox', 'usage', 'usage_events')
                            OR relname = 'usage_totals')
                     ORDER BY relname
    LOOP
        EXECUTE format('SELECT string_agg(t::text, %L ORDER BY t::text) FROM %s t', E'\n', relation) INTO rows;
        found := concat_ws(E'\n', found, relation, rows);
    END LOOP;
    RETURN md5(found);
END $$;
SELECT skene_identify('u1', email => 'ada@example.com', stripe_customer_id => 'cus_1'), skene_consume('u1', 'export', 2);
SELECT contents() AS before \gset
\pset format unaligned
\pset tuples_only

-- Nobody: a signed-out visitor must not pass.
SELECT fails($$ SELECT skene_consume(NULL, 'export') $$);
SELECT fails($$ SELECT skene_consume(NULL::uuid, 'export') $$);
SELECT fails($$ SELECT skene_consume(NULL::bigint, 'export') $$);
SELECT fails($$ SELECT skene_consume('u1', NULL) $$);
SELECT fails($$ SELECT skene_consume('u1', 'export', NULL) $$);
SELECT fails($$ SELECT * FROM skene_decide(NULL::text, 'export') $$);
SELECT fails($$ SELECT skene_require(NULL::text, 'export') $$);
SELECT fails($$ SELECT skene_refund(NULL::text, 'export') $$);
SELECT fails($$ SELECT * FROM skene_check(NULL::text, 'export') $$);
SELECT fails($$ SELECT * FROM skene_usage(NULL::text) $$);
SELECT fails($$ SELECT * FROM skene_consume_request(NULL::text, 'GET', '/export') $$);
SELECT fails($$ SELECT * FROM skene_consume_request('u1', NULL, '/export') $$);
SELECT fails($$ SELECT * FROM skene_consume_request('u1', 'GET', NULL) $$);
SELECT fails($$ SELECT * FROM skene_consume_request('u1', 'GET', '/export', on_no_match => NULL) $$);
SELECT fails($$ SELECT * FROM skene_consume_request('u1', 'GET', '/export', on_no_match => 'ignore') $$);
SELECT fails(format($$ SELECT * FROM skene_consume_request('u1', 'GET', %L, on_no_match => 'error') $$, repeat('/é', 10000)));
SELECT fails($$ SELECT skene_identify(NULL::text, 'a@example.com') $$);
SELECT fails($$ SELECT skene_set_plan(NULL::text, 'pro') $$);
SELECT fails($$ SELECT skene_override(NULL, 'export', 1) $$);
SELECT skene_allows(NULL::text, 'export'), skene_allows('u1', NULL), skene_allows('u1', 'export', NULL), skene_allows(NULL::uuid, 'export');

-- Amounts.
SELECT fails($$ SELECT skene_consume('u1', 'export', 0) $$);
SELECT fails($$ SELECT skene_consume('u1', 'export', -1) $$);
SELECT fails($$ SELECT skene_refund('u1', 'export', -1) $$);
SELECT fails($$ SELECT skene_allows('u1', 'export', 0) $$);
SELECT fails($$ SELECT skene_consume('u1', 'export', 9223372036854775808::bigint) $$);
SELECT fails($$ SELECT skene_consume('u1', 'export', 'NaN'::float8::bigint) $$);
SELECT skene_consume('u1', 'export', 9223372036854775807), skene_allows('u1', 'export', 9223372036854775807);
SELECT fails($$ SELECT skene_refund('u1', 'export', 9223372036854775807) $$);
-- the end of bigint, on an unlimited feature
BEGIN;
SELECT skene_consume('u1', 'search', 9223372036854775807);
SELECT fails($$ SELECT skene_consume('u1', 'search') $$);
SELECT fails($$ SELECT skene_consume('u1', 'search', 9223372036854775807) $$);
SELECT fails($$ SELECT * FROM skene_check('u1', 'search') $$);
SELECT used, remaining FROM skene_usage('u1') WHERE feature = 'search';
ROLLBACK;

-- Ids, features and keys.
SELECT fails($$ SELECT skene_consume('', 'export') $$);
SELECT fails(format($$ SELECT skene_consume(%L, 'export') $$, repeat('x', 256)));
SELECT fails(format($$ SELECT skene_consume(%L, 'export') $$, repeat('é', 128)));
SELECT fails(format($$ SELECT skene_consume('u1', %L) $$, repeat('x', 10240)));
SELECT fails($$ SELECT skene_consume('u1', '') $$);
SELECT fails($$ SELECT skene_consume('u1', 'exports') $$);
SELECT fails($$ SELECT skene_allows('u1', 'EXPORT') $$);
SELECT fails($$ SELECT skene_consume('u1', 'export', 1, '') $$);
SELECT fails(format($$ SELECT skene_consume('u1', 'export', 1, %L) $$, repeat('x', 256)));
SELECT fails($$ SELECT skene_consume(convert_from('\xff', 'UTF8'), 'export') $$);
SELECT fails($$ SELECT skene_consume(E'a\000b', 'export') $$);
SELECT fails($$ SELECT skene_consume('not a uuid'::uuid, 'export') $$);
BEGIN; -- ids that look like trouble are only ids
SELECT skene_consume(repeat('x', 255), 'export'), skene_consume('''; DROP TABLE skene.usage; --', 'export'),
       skene_consume(E'\n\t\\', 'export'), skene_consume(U&'\202E\0041', 'export'), skene_consume(' ', 'export');
ROLLBACK;

-- Customers and plans.
SELECT fails($$ SELECT skene_identify('u1', email => 'ada@example.com, eve@example.com') $$);
SELECT fails($$ SELECT skene_identify('u1', email => E'ada@example.com\nBcc: eve@example.com') $$);
SELECT fails($$ SELECT skene_identify('u1', attributes => '[1]') $$);
SELECT fails($$ SELECT skene_identify('u1', name => repeat('x', 2000)) $$);
SELECT fails($$ SELECT skene_identify('u1', time_zone => 'Mars/Olympus') $$);
SELECT fails($$ SELECT skene_identify('u1', created_at => 'infinity') $$);
SELECT fails($$ SELECT skene_identify('u2', stripe_customer_id => 'cus_1') $$);
SELECT fails($$ SELECT skene_set_plan('u1', 'gold') $$);
SELECT fails($$ SELECT skene_override('u1', 'exports', 1) $$);
SELECT fails($$ SELECT skene_override('u1', 'export', -1) $$);
SELECT fails($$ SELECT skene_override('u1', NULL, 1) $$);

-- Configuration.
SELECT fails($$ SELECT skene_apply('{"features": {"export": {"limit": -1, "period": "30d"}}}') $$);
SELECT fails($$ SELECT skene_apply('{"features": {"export": {"limit": NaN, "period": "30d"}}}') $$);
SELECT fails($$ SELECT skene_apply('{"features": {"export": {"limit": 1.5, "period": "30d"}}}') $$);
SELECT fails($$ SELECT skene_apply('{"features": {"export": {"limit": 9223372036854775808, "period": "30d"}}}') $$);
SELECT fails($$ SELECT skene_apply('{"features": {"export": {"limit": 5, "period": "soon"}}}') $$);
SELECT fails($$ SELECT skene_apply('{"features": {"export": {"limit": 5, "period": 30}}}') $$);
SELECT fails($$ SELECT skene_apply('{"features": {"export": {"limit": 5, "period": "month"}, "limit": 6}}') $$);

-- Row functions outside FROM.
SELECT fails($$ SELECT skene_decide('u1', 'export') $$);
SELECT fails($$ SELECT (skene_check('u1', 'export')).* $$);
SELECT fails($$ SELECT 1 WHERE (skene_decide('u1', 'export')).allowed $$);

-- Webhooks: nothing is read before the signature is good. See stripe.sql for more.
SELECT fails($$ SELECT skene_stripe_webhook('{"id": "evt_1"}'::text, NULL) $$);
SELECT fails($$ SELECT skene_stripe_webhook(NULL::text, 't=1,v1=00') $$);
SELECT fails($$ SELECT skene_stripe_webhook('{"id": "evt_1"}'::text, '') $$);
SELECT fails($$ SELECT skene_stripe_webhook('{"id": "evt_1"}'::text, 't=1767225600') $$);
SELECT fails($$ SELECT skene_stripe_webhook('{"id": "evt_1"}'::text, 't=99999999999999999999,v1=00') $$);
SELECT fails(format($$ SELECT skene_stripe_webhook('{}'::text, 't=%s,v1=%s') $$, extract(epoch FROM now())::bigint, repeat('0', 64)));
SELECT fails(format($$ SELECT skene_stripe_webhook('{}'::text, 't=%s,v0=%s') $$, extract(epoch FROM now())::bigint, repeat('0', 64)));
SELECT fails(format($$ SELECT skene_stripe_webhook(%L::text, 't=1,v1=00') $$, repeat('x', 5 * 1024 * 1024)));
SELECT fails($$ SELECT skene_stripe_webhook('\xff00'::bytea, 't=1,v1=00') $$);

-- Operation.
SELECT skene_retry(4711), skene_cancel(NULL);
SELECT fails($$ SELECT skene_pause(NULL) $$);
SELECT fails($$ SELECT skene_pause('sendgrid') $$);
SELECT fails($$ SELECT skene_resume('resnd') $$);
SELECT fails($$ SELECT skene_grant_role(NULL, 'app') $$);
SELECT fails($$ SELECT skene_grant_role('postgres', 'boss') $$);
SELECT fails($$ SELECT skene_grant_role('regress_skene_nobody', 'app') $$);

-- Direct writes of nonsense.
SELECT fails($$ UPDATE skene.customers SET user_id = '' $$);
SELECT fails($$ UPDATE skene.entitlements SET usage_limit = -1 $$);
SELECT fails($$ INSERT INTO skene.plans (plan, rank, is_default) VALUES ('second', 2, true) $$);
SELECT fails($$ SELECT skene.note_enqueue() $$);

-- What is written into the tables by hand is found when it is used.
BEGIN;
UPDATE skene.features SET period = 'soon' WHERE feature = 'export';
SELECT fails($$ SELECT * FROM skene_decide('u1', 'export') $$);
ROLLBACK;
BEGIN;
INSERT INTO skene.settings (name, value) VALUES ('timeZone', 'Mars/Olympus');
SELECT fails($$ SELECT * FROM skene_decide('u1', 'export') $$);
ROLLBACK;
BEGIN; -- a type that another version's script made
ALTER TYPE skene_decision ADD ATTRIBUTE extra integer;
SELECT fails($$ SELECT * FROM skene_decide('u1', 'export') $$);
ROLLBACK;

-- Nothing of all this changed anything.
SELECT contents() = :'before' AS unchanged;

DROP FUNCTION fails, contents;
