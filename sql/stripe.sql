-- stripe.sql: what Stripe's events do to plans, and to whom a conversion is credited.
-- Secrets are the server's: skene_gate.stripe_webhook_secret_file must hold the one below.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS skene_gate;
CREATE EXTENSION skene_gate;
RESET client_min_messages;
\set SHOW_CONTEXT never
SELECT count(*) > 0 AS configured FROM skene_apply('{
  "plans": {"free": {"default": true}, "pro": {"rank": 1, "prices": ["price_pro"]}, "max": {"rank": 2, "prices": ["max_yearly"]}},
  "features": {"export": {"limit": {"free": 1, "pro": 10, "max": null}, "period": "lifetime"}}}');

-- HMAC-SHA256 (RFC 2104) for keys up to one block; hex.
CREATE FUNCTION hmac_sha256(message bytea, key bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    inner_pad  bytea := decode(repeat('36', 64), 'hex');
    outer_pad  bytea := decode(repeat('5c', 64), 'hex');
BEGIN
    FOR i IN 0 .. length(key) - 1 LOOP
        inner_pad := set_byte(inner_pad, i, get_byte(inner_pad, i) # get_byte(key, i));
        outer_pad := set_byte(outer_pad, i, get_byte(outer_pad, i) # get_byte(key, i));
    END LOOP;
    RETURN encode(sha256(outer_pad || sha256(inner_pad || message)), 'hex');
END $$;

-- A Stripe-Signature header, made age seconds ago.
CREATE FUNCTION signature(payload text, age integer DEFAULT 0, secret text DEFAULT 'whsec_test_skene_gate_0123456789abcdef')
RETURNS text LANGUAGE sql AS $$
    SELECT format('t=%s,v1=%s', t, hmac_sha256(convert_to(t || '.' || payload, 'UTF8'), convert_to(secret, 'UTF8')))
      FROM (SELECT extract(epoch FROM clock_timestamp())::bigint - age AS t) AS clock
$$;

-- Let Stripe send an event about an object, made at second after a fixed moment.
CREATE FUNCTION deliver(event_id text, second integer, type text, object jsonb, livemode boolean DEFAULT false)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    payload text := jsonb_build_object('id', event_id, 'object', 'event', 'api_version', '2026-10-28.endive',
                                       'created', 1700000000 + second, 'type', type, 'livemode', livemode,
                                       'data', jsonb_build_object('object', object));
BEGIN
    RETURN skene_stripe_webhook(payload, signature(payload));
END $$;

-- A subscription as its events carry it.
CREATE FUNCTION subscription(id text, customer text, price text, status text DEFAULT 'active', user_id text DEFAULT NULL,
                             lookup_key text DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('id', id, 'object', 'subscription', 'customer', customer, 'status', status, 'currency', 'eur',
        'metadata', CASE WHEN user_id IS NULL THEN '{}' ELSE jsonb_build_object('skene_user_id', user_id) END,
        'items', jsonb_build_object('object', 'list', 'data', jsonb_build_array(jsonb_build_object(
            'id', 'si_' || id, 'quantity', 1, 'current_period_start', 1767225600, 'current_period_end', 1769904000,
            'price', jsonb_build_object('id', price, 'lookup_key', lookup_key, 'product', 'prod_1', 'unit_amount', 1900,
                                        'currency', 'eur', 'recurring', jsonb_build_object('interval', 'month'))))))
$$;

-- A finished checkout.
CREATE FUNCTION checkout(id text, subscription text, customer text, user_id text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('id', id, 'object', 'checkout.session', 'mode', 'subscription', 'payment_status', 'paid',
        'subscription', subscription, 'customer', customer, 'client_reference_id', user_id, 'amount_total', 1900,
        'currency', 'eur', 'customer_details', jsonb_build_object('email', user_id || '@example.com'))
$$;

CREATE VIEW plans AS
SELECT s.user_id, s.subscription_id, s.status, s.plan AS bought, (skene.plan_of(s.user_id)).plan AS in_force, s.amount, s.currency
  FROM skene.subscriptions s;
CREATE VIEW converted AS
SELECT user_id, kind, from_plan, to_plan, feature, amount, currency, subscription_id FROM skene.conversions ORDER BY conversion_id;

-- A recorded event: its signature is good and too old.
SELECT hmac_sha256('1767225600.{"name":"Zoë ☃"}', 'whsec_test_skene_gate_0123456789abcdef');
\set payload '{"id":"evt_test_1","object":"event","api_version":"2026-10-28.endive","created":1767225600,"type":"customer.subscription.updated","livemode":false,"data":{"object":{"id":"sub_1","object":"subscription","status":"active"}}}'
SELECT hmac_sha256(convert_to('1767225600.' || :'payload', 'UTF8'), 'whsec_test_skene_gate_0123456789abcdef');
SELECT skene_stripe_webhook(:'payload'::text, 't=1767225600,v1=a08a9c759393c9d97f00731fbdc83f450d15007e3a9a430ebb03a8ef0a6ae8c3');

-- Signatures: five minutes either way, any of several, only v1, over every byte.
SELECT skene_stripe_webhook(:'payload'::text, signature(:'payload', 400));
SELECT skene_stripe_webhook(:'payload'::text, signature(:'payload', -400));
SELECT skene_stripe_webhook(:'payload'::text, signature(:'payload', 0, 'whsec_another'));
SELECT skene_stripe_webhook(:'payload'::text, replace(signature(:'payload'), 'v1=', 'v0='));
SELECT skene_stripe_webhook(replace(:'payload', 'sub_1', 'sub_2'), signature(:'payload'));
SELECT skene_stripe_webhook(:'payload'::text, 'nonsense');
SELECT count(*) FROM skene.webhook_events;
BEGIN;
SELECT skene_stripe_webhook(:'payload'::json, signature(:'payload', 250));
SELECT skene_stripe_webhook(convert_to(:'payload', 'UTF8'), signature(:'payload') || ',v1=00,v0=00');
ROLLBACK;
-- signed well, yet no event
SELECT skene_stripe_webhook('{}'::text, signature('{}'));
SELECT skene_stripe_webhook('not json'::text, signature('not json'));
SELECT skene_stripe_webhook('\xff'::bytea, 't=' || t || ',v1=' || hmac_sha256(convert_to(t || '.', 'UTF8') || '\xff', 'whsec_test_skene_gate_0123456789abcdef'))
  FROM (SELECT extract(epoch FROM clock_timestamp())::bigint AS t) AS clock;
SELECT skene_stripe_webhook(thin, signature(thin))
  FROM (SELECT '{"id": "evt_thin", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered", "livemode": false, "created": "2026-01-01T00:00:00.000Z"}') AS event (thin);
-- without the secret nobody is believed
SET skene_gate.stripe_webhook_secret_file = '';
SELECT skene_stripe_webhook(:'payload'::text, signature(:'payload'));
RESET skene_gate.stripe_webhook_secret_file;
SELECT deliver('evt_0', 0, 'invoice.paid', '{"id": "in_1", "object": "invoice"}', livemode => true);

-- A subscription is created, changes and ends.
SELECT skene_identify('ada', 'ada@example.com', stripe_customer_id => 'cus_ada');
SELECT deliver('evt_1', 10, 'customer.subscription.created', subscription('sub_ada', 'cus_ada', 'price_pro'));
SELECT * FROM plans;
SELECT skene_consume('ada', 'export', 5);
SELECT deliver('evt_2', 20, 'customer.subscription.updated', subscription('sub_ada', 'cus_ada', 'price_x', lookup_key => 'max_yearly'));
SELECT * FROM plans;
-- the same event again, an older one, and one from before the end
SELECT deliver('evt_2', 20, 'customer.subscription.updated', subscription('sub_ada', 'cus_ada', 'price_pro'));
SELECT deliver('evt_3', 15, 'customer.subscription.updated', subscription('sub_ada', 'cus_ada', 'price_pro'));
SELECT deliver('evt_4', 30, 'customer.subscription.deleted', subscription('sub_ada', 'cus_ada', 'price_x', 'canceled', lookup_key => 'max_yearly'));
SELECT deliver('evt_5', 30, 'customer.subscription.updated', subscription('sub_ada', 'cus_ada', 'price_pro'));
SELECT * FROM plans;
SELECT * FROM converted;
SELECT skene_consume('ada', 'export'), used, usage_limit, remaining FROM skene_usage('ada');

-- Checkout first, then the subscription; and the other way round.
SELECT deliver('evt_10', 10, 'checkout.session.completed', checkout('cs_bob', 'sub_bob', 'cus_bob', 'bob'));
SELECT * FROM plans WHERE user_id = 'bob';
SELECT deliver('evt_11', 9, 'customer.subscription.created', subscription('sub_bob', 'cus_bob', 'price_pro'));
SELECT * FROM plans WHERE user_id = 'bob';
SELECT deliver('evt_12', 9, 'customer.subscription.created', subscription('sub_cy', 'cus_cy', 'price_pro'));
SELECT user_id IS NULL AS unknown, status, plan FROM skene.subscriptions WHERE subscription_id = 'sub_cy';
SELECT unmatched_subscriptions FROM skene_status();
SELECT deliver('evt_13', 10, 'checkout.session.completed', checkout('cs_cy', 'sub_cy', 'cus_cy', 'cy'));
SELECT * FROM plans WHERE user_id = 'cy';
SELECT user_id, email, stripe_customer_id FROM skene.customers ORDER BY user_id;

-- Two events of the same second, delivered the wrong way round: creation came first.
SELECT deliver('evt_14', 10, 'customer.subscription.updated', subscription('sub_liz', 'cus_liz', 'price_pro', 'active', 'liz'));
SELECT deliver('evt_15', 10, 'customer.subscription.created', subscription('sub_liz', 'cus_liz', 'price_pro', 'incomplete', 'liz'));
SELECT * FROM plans WHERE user_id = 'liz';

-- Nobody known yet: kept until the customer appears. Metadata names the customer too.
SELECT deliver('evt_20', 10, 'customer.subscription.created', subscription('sub_dan', 'cus_dan', 'price_pro'));
SELECT skene_allows('dan', 'export', 2);
SELECT skene_identify('dan', stripe_customer_id => 'cus_dan');
SELECT skene_consume('dan', 'export', 2);
SELECT deliver('evt_21', 10, 'customer.subscription.created', subscription('sub_eve', 'cus_eve', 'price_pro', user_id => 'eve'));
SELECT * FROM plans WHERE user_id IN ('dan', 'eve') ORDER BY user_id;

-- A price that no plan has.
SELECT deliver('evt_30', 10, 'customer.subscription.created', subscription('sub_fay', 'cus_fay', 'price_unknown', user_id => 'fay'));
SELECT * FROM plans WHERE user_id = 'fay';
SELECT unmatched_subscriptions, unknown_prices FROM skene_status();
SELECT object, name, action FROM skene_apply('{"plans": {"free": {"default": true}, "pro": {"rank": 1, "prices": ["price_pro", "price_unknown"]}}}');
SELECT * FROM plans WHERE user_id = 'fay';

-- Two subscriptions: the better plan is in force.
SELECT deliver('evt_40', 10, 'customer.subscription.created', subscription('sub_gus1', 'cus_gus', 'price_pro', user_id => 'gus'));
SELECT deliver('evt_41', 20, 'customer.subscription.created', subscription('sub_gus2', 'cus_gus', 'max_yearly', 'trialing', user_id => 'gus'));
SELECT * FROM plans WHERE user_id = 'gus' ORDER BY subscription_id;
SELECT deliver('evt_42', 30, 'customer.subscription.deleted', subscription('sub_gus2', 'cus_gus', 'max_yearly', 'canceled', user_id => 'gus'));
SELECT * FROM plans WHERE user_id = 'gus' ORDER BY subscription_id;

-- A failed payment: the plan lasts for the grace, counted from the first failure.
SELECT deliver('evt_50', 10, 'customer.subscription.created', subscription('sub_hal', 'cus_hal', 'price_pro', user_id => 'hal'));
SELECT deliver('evt_51', 20, 'customer.subscription.updated', subscription('sub_hal', 'cus_hal', 'price_pro', 'past_due'));
SELECT allowed, reason, plan, message FROM skene_check('hal', 'export', 2);
UPDATE skene.subscriptions SET past_due_since = clock_timestamp() - interval '6 days' WHERE subscription_id = 'sub_hal';
SELECT allowed, reason, plan, message FROM skene_check('hal', 'export', 2);
SELECT deliver('evt_52', 30, 'customer.subscription.updated', subscription('sub_hal', 'cus_hal', 'price_pro', 'past_due'));
SELECT past_due_since < clock_timestamp() - interval '5 days' AS since_the_first FROM skene.subscriptions WHERE subscription_id = 'sub_hal';
SELECT deliver('evt_53', 40, 'customer.subscription.updated', subscription('sub_hal', 'cus_hal', 'price_pro'));
SELECT status, past_due_since FROM skene.subscriptions WHERE subscription_id = 'sub_hal';
-- statuses that give the plan, and those that do not
DO $$
DECLARE
    stripe_status text;
BEGIN
    FOREACH stripe_status IN ARRAY '{incomplete,active,unpaid,trialing,paused,something_new}'::text[] LOOP
        PERFORM deliver('evt_60_' || stripe_status, 10, 'customer.subscription.updated',
                        subscription('sub_ian', 'cus_ian', 'price_pro', stripe_status, 'ian'));
        RAISE NOTICE '%: %', stripe_status, (SELECT plan FROM skene.plan_of('ian'));
    END LOOP;
END $$;

-- An upgrade is credited to the prompt that came before it.
SELECT skene_identify('joy'), skene_identify('kim');
SELECT skene.write_prompt('joy', 'export', 'lifetime', '-infinity', 'infinity', 'limit_reached', 'free', 3, now() - interval '2 hours', now() - interval '1 hour');
SELECT deliver('evt_70', 10, 'customer.subscription.created', subscription('sub_joy', 'cus_joy', 'price_pro', user_id => 'joy'));
SELECT skene.write_prompt('kim', 'export', 'lifetime', '-infinity', 'infinity', 'limit_reached', 'free', 1, now() - interval '40 days', now() - interval '40 days');
SELECT deliver('evt_71', 10, 'customer.subscription.created', subscription('sub_kim', 'cus_kim', 'price_pro', user_id => 'kim'));
SELECT c.user_id, c.kind, c.feature, c.prompt_id = p.prompt_id AS credited, date_trunc('hour', c.time_to_convert) AS hours
  FROM skene.conversions c JOIN skene.prompts p USING (user_id) WHERE user_id IN ('joy', 'kim') ORDER BY 1;
SELECT conversions, median_time_to_convert IS NOT NULL AS median, amounts FROM skene.funnel;
SELECT * FROM converted WHERE user_id NOT IN ('ada', 'joy', 'kim');

-- Without plans in the document any price means "paid", so that a checkout alone is enough,
-- once it is paid.
SELECT count(*) > 0 AS configured FROM skene_apply('{"features": {"export": {"limit": {"free": 1, "paid": null}, "period": "lifetime"}}}', prune => true);
SELECT deliver('evt_80', 10, 'checkout.session.completed', checkout('cs_lea', 'sub_lea', 'cus_lea', 'lea') || '{"payment_status": "unpaid"}');
SELECT * FROM plans WHERE user_id = 'lea';
SELECT deliver('evt_81', 20, 'checkout.session.async_payment_succeeded', checkout('cs_lea', 'sub_lea', 'cus_lea', 'lea'));
SELECT * FROM plans WHERE user_id = 'lea';
SELECT deliver('evt_82', 15, 'customer.subscription.created', subscription('sub_lea', 'cus_lea', 'price_anything'));
SELECT * FROM plans WHERE user_id = 'lea';
SELECT * FROM converted WHERE user_id = 'lea';
-- a checkout that sells no subscription changes nothing
SELECT deliver('evt_83', 30, 'checkout.session.completed', checkout('cs_max', NULL, 'cus_max', 'max') || '{"mode": "payment"}');

-- Every event once, with what came of it.
SELECT event_id, event_type, object_id, livemode, result FROM skene.webhook_events
 ORDER BY length(event_id), event_id;

DROP VIEW plans, converted;
DROP FUNCTION deliver, signature, hmac_sha256, subscription, checkout;
