-- mail.sql: which prompt becomes which e-mail, and what is checked again when it is leased. All
-- of it in one transaction, which no worker sees; nothing is sent.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS skene_gate;
CREATE EXTENSION skene_gate;
RESET client_min_messages;
\set SHOW_CONTEXT never
BEGIN;
SELECT count(*) > 0 AS configured FROM skene_apply('{
  "plans": {"free": {"default": true}, "pro": {"rank": 1}, "top": {"rank": 2}},
  "features": {"export": {"limit": {"free": 5, "pro": 50, "top": 500}, "period": "30d"},
               "quiet": {"limit": {"free": 0, "pro": 5}, "period": "30d", "prompt": null}},
  "settings": {"emailFrom": "Acme <hello@acme.example>", "upgradeUrl": "https://acme.example/up"}}');

-- What the worker does with a denial, in a window of 30 days that begins now.
CREATE FUNCTION pg_temp.denied(who text, feature text DEFAULT 'export', kind text DEFAULT 'limit_reached')
RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM skene.write_prompt(who, feature, '30d', skene.gate_time(), skene.gate_time() + interval '30 days',
                               kind, (SELECT plan FROM skene.plan_of(who)), 1, skene.gate_time(), skene.gate_time());
    RETURN (SELECT concat_ws(': ', p.state, p.error) FROM skene.prompts p
             WHERE p.user_id = who AND p.feature = denied.feature AND p.kind = denied.kind
             ORDER BY p.prompt_id DESC LIMIT 1);
END $$;
-- What it sends when it looks, one request for each message.
CREATE FUNCTION pg_temp.leased() RETURNS TABLE (to_address text, subject text, key text) LANGUAGE sql AS $$
    SELECT l.body::jsonb->'to'->>0, l.body::jsonb->>'subject', left(l.idempotency_key, 6)
      FROM skene.lease_outbox('resend', 100, 1, false, '1 min') l $$;
CREATE FUNCTION pg_temp.ended(who text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' / ', o.state, o.last_error, p.state, p.error)
      FROM skene.outbox o JOIN skene.prompts p USING (prompt_id)
     WHERE o.user_id = who ORDER BY o.outbox_id $$;
SELECT count(skene_identify(who, who || '@example.com')) AS customers
  FROM unnest('{paid,gone,moved,tried,broken,bare,barred,late,same}'::text[]) AS who;

-- At the lease: whoever has paid, is gone, has no address or is suppressed gets nothing.
SELECT who, pg_temp.denied(who) FROM unnest('{paid,gone,bare,late,same}'::text[]) AS who;
SELECT skene_set_plan('paid', 'pro');
DELETE FROM skene.customers WHERE user_id = 'gone';
UPDATE skene.customers SET email = NULL WHERE user_id = 'bare';
SELECT skene_suppress('LATE@Example.com', 'asked by phone');
SELECT to_address, key FROM pg_temp.leased();
SELECT who, pg_temp.ended(who) FROM unnest('{paid,gone,bare,late,same}'::text[]) AS who;
-- so it is when mail is captured
SELECT pg_temp.denied('moved');
SAVEPOINT before;
SELECT skene_set_plan('moved', 'pro');
SELECT skene.capture_outbox();
SELECT pg_temp.ended('moved');
ROLLBACK TO before;

-- Another address: what was not tried is rendered for it, under its key; what was tried stays.
SELECT pg_temp.denied('tried'), pg_temp.denied('broken');
UPDATE skene.outbox SET attempts = 1, first_attempt_at = skene.gate_time() WHERE user_id = 'tried';
CREATE TEMP TABLE keys AS SELECT user_id, idempotency_key, body FROM skene.outbox;
SELECT skene_identify(who, who || '@new.example') FROM unnest('{moved,tried}'::text[]) AS who;
SELECT to_address FROM pg_temp.leased() ORDER BY 1;
SELECT o.user_id, o.recipient, o.idempotency_key = k.idempotency_key AS same_key, o.body = k.body AS same_bytes
  FROM skene.outbox o JOIN keys k USING (user_id) WHERE o.user_id IN ('moved', 'tried') ORDER BY 1;
-- the address it goes to counts, not the one the customer has by now
UPDATE skene.outbox SET state = 'pending', lease_token = NULL, lease_expires_at = NULL
 WHERE user_id IN ('moved', 'tried');
SELECT skene_suppress('tried@example.com'), skene_suppress('moved@new.example');
SELECT * FROM pg_temp.leased();
SELECT who, pg_temp.ended(who) FROM unnest('{moved,tried}'::text[]) AS who;
-- a template that cannot be rendered any more ends its own message only
SELECT pg_temp.denied('barred');
UPDATE skene.outbox SET state = 'pending', attempts = 0, lease_token = NULL WHERE user_id = 'broken';
SELECT skene_identify('broken', 'broken@new.example');
SAVEPOINT before;
INSERT INTO skene.templates (template, subject, text) VALUES ('upgrade_prompt', 'x', '{{#name}}');
SELECT to_address FROM pg_temp.leased();
SELECT pg_temp.ended('broken');
ROLLBACK TO before;

-- Suppressions: of an address, whoever has it and in whatever case; a hash is all that is kept.
SELECT skene_suppress('Barred@Example.COM', 'bounced');
SELECT skene_suppress('barred@example.com', 'bounced twice');
SELECT pg_temp.denied('barred', 'export', 'not_entitled');
SELECT category, reason, octet_length(address_hash) AS bytes FROM skene.suppressions WHERE reason LIKE 'bounced%';
DELETE FROM skene.customers WHERE user_id = 'barred';
SELECT skene_identify('again', 'barred@example.com');
SELECT pg_temp.denied('again');
SELECT skene_unsuppress('BARRED@example.com'), skene_unsuppress('barred@example.com');
SELECT pg_temp.denied('again', 'export', 'not_entitled');

-- Whoever owes is asked to pay, in words of its own, and never to upgrade.
SELECT skene_identify('owing', 'owing@example.com', 'Ada');
INSERT INTO skene.subscriptions (subscription_id, user_id, source, plan, status, past_due_since)
VALUES ('sub_owing', 'owing', 'stripe', 'pro', 'past_due', skene.gate_time() - interval '8 days');
SELECT pg_temp.denied('owing', kind => 'past_due');
SELECT subject, text, html ~ 'href="https://acme.example/up"' AS linked, html ~* 'upgrade' AS upgrade
  FROM skene.mailbox WHERE user_id = 'owing';
SAVEPOINT before;
SELECT count(*) FROM skene_apply('{"settings": {"billingUrl": "https://acme.example/card"},
                                   "templates": {"past_due": {"subject": "Pay", "text": "{{billing_url}}"}}}');
UPDATE skene.prompts SET state = 'new' WHERE user_id = 'owing';
SELECT subject, text FROM skene.mailbox WHERE user_id = 'owing' ORDER BY outbox_id DESC LIMIT 1;
ROLLBACK TO before;
-- a subscription that has ended owes nothing
UPDATE skene.subscriptions SET status = 'canceled' WHERE user_id = 'owing';
SELECT count(*) FROM pg_temp.leased() WHERE to_address LIKE 'owing%';
SELECT pg_temp.ended('owing');

-- No plan gives more: nobody is asked. An override counts as what the customer has.
SELECT skene_identify('top', 'top@example.com'), skene_set_plan('top', 'top');
SELECT pg_temp.denied('top'), pg_temp.denied('top', 'quiet');
SELECT skene_identify('rich', 'rich@example.com'), skene_override('rich', 'export', 500);
SELECT pg_temp.denied('rich');
SELECT skene_override('rich', 'export', 499);
SELECT pg_temp.denied('rich', kind => 'not_entitled');

SAVEPOINT wrong;
SELECT skene_suppress(NULL);
ROLLBACK TO wrong;
SELECT skene_suppress('nobody');
ROLLBACK TO wrong;
SELECT skene_unsuppress('Ada <ada@example.com>');
ROLLBACK TO wrong;
ROLLBACK;
