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
               "sheet": {"limit": {"free": 5, "pro": 50}, "period": "30d", "prompt": {"sequence": [
                 {"after": "0"}, {"after": "2d", "template": "second"}, {"after": "29d"}, {"after": "30d"}]}},
               "quiet": {"limit": {"free": 0, "pro": 5}, "period": "30d", "prompt": null}},
  "templates": {"second": {"subject": "Still {{name}}?", "text": "{{message}}"}},
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

-- Sequences: a row and a key for each message, none after the window's end; leased in their time.
SELECT count(skene_identify(who, who || '@example.com', who)) AS customers
  FROM unnest('{seq,back,erased,stopped,lasting,dead,shy}'::text[]) AS who;
SELECT who, pg_temp.denied(who, 'sheet') FROM unnest('{seq,back,erased,stopped,lasting,dead,shy}'::text[]) AS who;
SELECT step, category, subject, round(extract(epoch FROM due_at - o.created_at) / 86400) AS days
  FROM skene.mailbox m JOIN skene.outbox o USING (outbox_id, step, category) WHERE o.user_id = 'seq' ORDER BY 1;
SELECT count(DISTINCT idempotency_key) AS keys FROM skene.outbox WHERE user_id = 'seq';
SELECT pending, scheduled, oldest_pending_at IS NOT NULL AS waiting FROM skene_status();
SELECT to_address, subject FROM pg_temp.leased() ORDER BY 1;
SELECT pending, scheduled FROM skene_status();
-- as the provider answers
CREATE FUNCTION pg_temp.settle(verdict text, who text DEFAULT '%') RETURNS bigint LANGUAGE sql AS $$
    SELECT count(s)
      FROM skene.settle_outbox((
               SELECT jsonb_agg(jsonb_build_object('id', o.outbox_id, 'token', o.lease_token, 'verdict', verdict,
                                                   'status', 200, 'error', '', 'sent_id', 'x'))
                 FROM skene.outbox o WHERE o.state = 'leased' AND o.user_id LIKE who)) s $$;
SELECT pg_temp.settle('bury', 'dead');
SELECT pg_temp.settle('sent') AS no_deaths;
SELECT user_id, state FROM skene.prompts WHERE feature = 'sheet' AND user_id IN ('seq', 'dead') ORDER BY 1;
SELECT emails FROM skene.funnel WHERE feature = 'sheet';
-- what stops it: a conversion, also one that was taken back, erasure, an operator, the end of the first
SELECT skene_set_plan('back', 'pro'), skene_set_plan('back', NULL);
DELETE FROM skene.customers WHERE user_id = 'erased';
SELECT skene_suppress('shy@example.com');
UPDATE skene.prompts SET state = 'cancelled' WHERE user_id = 'stopped';
SELECT count(*) FROM pg_temp.leased();
SET LOCAL skene_gate.clock_offset = '49h';
SELECT to_address, subject FROM pg_temp.leased() ORDER BY 1;
SELECT who, pg_temp.ended(who) FROM unnest('{back,erased,stopped,dead,shy}'::text[]) AS who;
-- a later message that is not sent leaves the prompt as it is
SELECT pg_temp.settle('bury', 'seq');
SELECT skene_cancel(outbox_id) FROM skene.outbox WHERE user_id = 'lasting' AND step = 3;
SELECT user_id, state, error FROM skene.prompts WHERE user_id IN ('seq', 'lasting', 'erased') AND feature = 'sheet' ORDER BY 1;
-- a window that is over
SET LOCAL skene_gate.clock_offset = '31d';
SELECT to_address FROM pg_temp.leased();
SELECT step, state, last_error FROM skene.outbox WHERE user_id = 'seq' ORDER BY 1;
RESET skene_gate.clock_offset;
SELECT emails, prompts FROM skene.funnel WHERE feature = 'sheet';
-- who owes gets one message
SELECT skene_identify('debtor', 'debtor@example.com'), pg_temp.denied('debtor', 'sheet', 'past_due');
SELECT count(*) FROM skene.outbox WHERE user_id = 'debtor';
-- none that fits the window
SAVEPOINT before;
UPDATE skene.features SET prompt_sequence = '[{"after": "31d", "template": "second"}]' WHERE feature = 'sheet';
SELECT skene_identify('tardy', 'tardy@example.com'), pg_temp.denied('tardy', 'sheet');
ROLLBACK TO before;

-- Marketing: not without consent, by the customer's attributes or else by the setting.
CREATE FUNCTION pg_temp.steps(who text) RETURNS text LANGUAGE sql AS $$
    SELECT coalesce(string_agg(step || ' ' || state || coalesce(': ' || last_error, ''), ', ' ORDER BY outbox_id), 'none')
      FROM skene.outbox WHERE user_id = who $$;
CREATE FUNCTION pg_temp.consents(who text, attributes jsonb) RETURNS text LANGUAGE sql AS $$
    SELECT skene_identify(who, who || '@example.com', attributes => attributes);
    SELECT pg_temp.denied(who, 'sheet');
    SELECT pg_temp.steps(who) $$;
SELECT pg_temp.consents('out1', '{}') AS nothing_said, pg_temp.consents('out2', '{"marketing": false}') AS refused,
       pg_temp.consents('out3', '{"marketing": true}') AS agreed, pg_temp.consents('out4', '{"marketing": "yes"}') AS no_boolean,
       pg_temp.consents('out5', '{"marketing": null}') AS null_is_nothing;
SELECT count(*) FROM skene_apply('{"settings": {"marketingConsent": "opt-in"}}');
SELECT pg_temp.consents('in1', '{}') AS nothing_said, pg_temp.consents('in2', '{"marketing": false}') AS refused,
       pg_temp.consents('in3', '{"marketing": true}') AS agreed;
-- taken back before the second message
SELECT skene_identify('in3', attributes => '{"marketing": false}');

-- Unsubscribing, with the token that stands in the e-mail.
SELECT count(*) FROM skene_apply('{"settings": {"marketingConsent": "opt-out", "postalAddress": "Acme Ltd, 1 High Street",
                                                "unsubscribeUrl": "https://acme.example/stop?page=1"}}');
SELECT skene_identify('sub', 'sub@example.com'), pg_temp.denied('sub', 'sheet');
SELECT unsubscribe_token AS token FROM skene.customers WHERE user_id = 'sub' \gset
SELECT :'token' ~ '^[0-9a-f]{32}$' AS well_formed, count(DISTINCT unsubscribe_token) = count(*) AS all_differ FROM skene.customers;
SELECT o.step, replace(o.body::jsonb->'headers'->>'List-Unsubscribe', :'token', 'TOKEN') AS list_unsubscribe,
       o.body::jsonb->'headers'->>'List-Unsubscribe-Post' AS post,
       o.body::jsonb->>'text' LIKE '%Unsubscribe: https://acme.example/stop?page=1&token=' || :'token' || '%' AS in_text,
       o.body::jsonb->>'html' LIKE '%<a href="https://acme.example/stop?page=1&amp;token=' || :'token' || '">%' AS in_html,
       o.body::jsonb->>'text' LIKE '%Acme Ltd, 1 High Street%' AND o.body::jsonb->>'html' LIKE '%Acme Ltd, 1 High Street%' AS foot
  FROM skene.outbox o WHERE o.user_id = 'sub' AND o.step <> 2 ORDER BY 1;
SELECT skene_unsubscribe(:'token') AS known, skene_unsubscribe(:'token') AS twice, skene_unsubscribe('no-such-token') AS stale,
       skene_unsubscribe(NULL) AS none;
SELECT category, reason FROM skene.suppressions WHERE address_hash = skene.address_hash('sub@example.com');
SELECT pg_temp.denied('sub');
SELECT count(*) > 0 AS leased FROM pg_temp.leased();
SELECT pg_temp.settle('sent');
SET LOCAL skene_gate.clock_offset = '49h';
SELECT to_address FROM pg_temp.leased() ORDER BY 1;
SELECT pg_temp.steps('in3') AS taken_back, pg_temp.steps('sub') AS unsubscribed;
RESET skene_gate.clock_offset;
SELECT skene_unsuppress('sub@example.com');

-- The cap: prompts that were mailed, of all features, first messages only.
SELECT count(*) FROM skene_apply('{"settings": {"promptCap": "2 per 7d"}}');
SELECT skene_identify('often', 'often@example.com'), pg_temp.denied('often', 'sheet'), pg_temp.denied('often', 'quiet'),
       pg_temp.denied('often', 'export');
SELECT pg_temp.denied('often', 'export', 'not_entitled');
SET LOCAL skene_gate.clock_offset = '169h';
SELECT pg_temp.denied('often', 'sheet', 'not_entitled');
RESET skene_gate.clock_offset;
SELECT count(*) FROM skene_apply('{"settings": {"promptCap": "9 per 1d"}}');

-- Languages: the nearest text of our own.
SAVEPOINT languages;
SELECT name, action FROM skene_apply('{"templates": {"upgrade_prompt": {"subject": "Hello", "text": "x", "locales": {
  "de": {"subject": "Hallo", "text": "x"}, "de-AT": {"subject": "Servus", "text": "x"}}}}}');
SELECT locale, skene_identify('lang' || n, 'l@example.com', locale => locale), pg_temp.denied('lang' || n)
  FROM unnest('{de-AT,de_at,de-CH,de,DE,fr,den,de-AT-1996}'::text[]) WITH ORDINALITY AS l (locale, n);
SELECT c.locale, m.subject FROM skene.mailbox m JOIN skene.customers c USING (user_id)
 WHERE m.user_id LIKE 'lang%' ORDER BY m.outbox_id;
SELECT skene_apply('{"templates": {"upgrade_prompt": {"subject": "Hello", "text": "x", "locales": {
  "de": {"subject": "Hallo", "text": "{{nmae}}"}}}}}');
ROLLBACK TO languages;

-- A preview sends and writes nothing.
SELECT count(*) FROM skene_apply('{"settings": {"unsubscribeUrl": "https://acme.example/stop"}}');
SELECT skene_identify('looked', 'looked@example.com', 'Ada'), skene_consume('looked', 'sheet', 3), skene_identify('homeless');
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM skene.prompts) AS prompts, (SELECT count(*) FROM skene.outbox) AS outbox;
SELECT step, sender, recipient, subject, category, text LIKE '%token=%' AS linked FROM skene_preview('looked', 'sheet');
SELECT recipient IS NULL AS nobody, subject, html LIKE '%sheet%' AS html FROM skene_preview('homeless', 'sheet') WHERE step = 3;
SELECT subject, text LIKE '%{{%' AS unfilled FROM skene_preview('never seen', 'export');
SELECT count(*) FROM skene_preview('looked', 'quiet');
UPDATE skene.subscriptions SET status = 'past_due', past_due_since = skene.gate_time() - interval '8 days' WHERE user_id = 'owing';
SELECT subject FROM skene_preview('owing', 'sheet');
SELECT count(*) FROM skene_preview(42, 'sheet') a, skene_preview('00000000-0000-0000-0000-000000000000'::uuid, 'export') b;
SELECT b.prompts = (SELECT count(*) FROM skene.prompts) AND b.outbox = (SELECT count(*) FROM skene.outbox) AS nothing_written
  FROM before b;
SAVEPOINT wrong;
SELECT * FROM skene_preview(NULL, 'sheet');
ROLLBACK TO wrong;
SELECT * FROM skene_preview('looked', NULL);
ROLLBACK TO wrong;
SELECT * FROM skene_preview('looked', 'shet');
ROLLBACK TO wrong;
UPDATE skene.features SET prompt_template = 'none' WHERE feature = 'export';
SELECT * FROM skene_preview('looked', 'export');
ROLLBACK TO wrong;

SAVEPOINT wrong;
SELECT skene_suppress(NULL);
ROLLBACK TO wrong;
SELECT skene_suppress('nobody');
ROLLBACK TO wrong;
SELECT skene_unsuppress('Ada <ada@example.com>');
ROLLBACK TO wrong;
ROLLBACK;
