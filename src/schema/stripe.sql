-- stripe.sql: what Stripe's events do to subscriptions. The C functions verify and
-- flatten an event (src/webhooks, src/core/stripe_event); apply_stripe_event is given
-- only events whose signature was good.

CREATE FUNCTION skene.plan_for_prices(prices text[]) RETURNS text
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT p.plan FROM skene.plans p
     WHERE p.prices && ($1 || '*'::text)
     ORDER BY p.prices && $1 DESC, p.rank DESC, p.plan LIMIT 1
$$;
COMMENT ON FUNCTION skene.plan_for_prices(text[]) IS
    'The plan that Stripe prices mean: by id, lookup key or product, else the plan with *';

-- The customer a Stripe object belongs to, by the ids it carries; null if unknown.
CREATE FUNCTION skene.stripe_user(event jsonb) RETURNS text
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT id FROM (VALUES
            (1, $1->>'user_id'),
            (2, $1->>'client_reference_id'),
            (3, (SELECT s.user_id FROM skene.subscriptions s
                  WHERE s.subscription_id = $1->>'subscription_id')),
            (4, (SELECT c.user_id FROM skene.customers c
                  WHERE c.stripe_customer_id = $1->>'stripe_customer'))) AS known (priority, id)
     WHERE octet_length(id) BETWEEN 1 AND 255
     ORDER BY priority LIMIT 1
$$;

-- Remember which Stripe customer a customer is, creating the customer if need be.
CREATE FUNCTION skene.link_stripe_customer(linked_user text, stripe_customer text, address text)
RETURNS void LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO skene.customers (user_id, email, anchor)
    VALUES (linked_user, CASE WHEN skene.valid_address(address) THEN address END, skene.gate_time())
    ON CONFLICT (user_id) DO NOTHING;
    UPDATE skene.customers SET stripe_customer_id = stripe_customer, updated_at = skene.gate_time()
     WHERE user_id = linked_user AND stripe_customer_id IS NULL
       AND NOT EXISTS (SELECT FROM skene.customers WHERE stripe_customer_id = stripe_customer);
END
$$;

CREATE FUNCTION skene.apply_stripe_event(event jsonb) RETURNS text
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    subscription  text := event->>'subscription_id';
    created       timestamptz := to_timestamp((event->>'created')::bigint);
    paid          boolean := event->>'payment_status' IN ('paid', 'no_payment_required');
    customer      text;
    stored        skene.subscriptions;
    old_plan      record;
    outcome       text := 'applied';
BEGIN
    INSERT INTO skene.webhook_events (provider, event_id, event_type, object_id, created_at, livemode, result)
    VALUES ('stripe', event->>'event_id', event->>'type', event->>'object_id', created,
            (event->>'livemode')::boolean, outcome)
    ON CONFLICT (provider, event_id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'duplicate';
    END IF;

    IF event->>'kind' NOT IN ('subscription', 'checkout') OR subscription IS NULL THEN
        outcome := 'ignored';
    ELSE
        -- the row first, so that two events of one subscription queue up behind it
        INSERT INTO skene.subscriptions (subscription_id, source, status)
        VALUES (subscription, 'stripe', 'incomplete')
        ON CONFLICT (subscription_id) DO NOTHING;
        SELECT * INTO stored FROM skene.subscriptions s
         WHERE s.subscription_id = subscription FOR UPDATE;
        customer := skene.stripe_user(event);
        SELECT * INTO old_plan FROM skene.plan_of(customer);

        IF event->>'kind' = 'checkout' THEN
            -- says who paid, not for what: the plan comes with the subscription's own event
            UPDATE skene.subscriptions s
               SET user_id = coalesce(customer, s.user_id),
                   stripe_customer_id = coalesce(s.stripe_customer_id, event->>'stripe_customer'),
                   status = CASE WHEN s.event_created IS NULL AND paid THEN 'active' ELSE s.status END,
                   plan = CASE WHEN s.event_created IS NULL THEN skene.plan_for_prices('{}') ELSE s.plan END,
                   amount = coalesce(s.amount, (event->>'amount')::bigint),
                   currency = coalesce(s.currency, event->>'currency'),
                   updated_at = skene.gate_time()
             WHERE s.subscription_id = subscription;
        ELSIF created < stored.event_created
              OR (stored.event_created IS NOT NULL AND event->>'type' = 'customer.subscription.created')
              OR (stored.status IN ('canceled', 'incomplete_expired')
                  AND event->>'status' NOT IN ('canceled', 'incomplete_expired')) THEN
            -- events come in any order, several in a second; creation is always the first, and an
            -- ended subscription never comes back
            outcome := 'stale';
        ELSE
            UPDATE skene.subscriptions s
               SET user_id = coalesce(customer, s.user_id),
                   stripe_customer_id = coalesce(event->>'stripe_customer', s.stripe_customer_id),
                   status = event->>'status',
                   prices = ARRAY(SELECT jsonb_array_elements_text(event->'prices')),
                   plan = skene.plan_for_prices(ARRAY(SELECT jsonb_array_elements_text(event->'prices'))),
                   amount = (event->>'amount')::bigint,
                   currency = event->>'currency',
                   billing_interval = event->>'interval',
                   current_period_start = to_timestamp((event->>'current_period_start')::bigint),
                   current_period_end = to_timestamp((event->>'current_period_end')::bigint),
                   cancel_at = to_timestamp((event->>'cancel_at')::bigint),
                   ends_at = to_timestamp((event->>'ended_at')::bigint),
                   past_due_since = CASE WHEN event->>'status' = 'past_due'
                                         THEN coalesce(s.past_due_since, created) END,
                   event_created = created,
                   updated_at = skene.gate_time()
             WHERE s.subscription_id = subscription;
        END IF;

        IF customer IS NULL THEN
            outcome := 'unmatched';
            -- the customer may be getting its Stripe id beside us
            PERFORM skene.wake_worker('address');
        ELSIF outcome = 'applied' THEN
            PERFORM skene.link_stripe_customer(customer, event->>'stripe_customer', event->>'email');
            PERFORM skene.note_plan_change(customer, old_plan.plan, old_plan.rank, subscription);
        END IF;
    END IF;

    UPDATE skene.webhook_events SET result = outcome
     WHERE provider = 'stripe' AND event_id = event->>'event_id' AND result <> outcome;
    RETURN outcome;
END
$$;
COMMENT ON FUNCTION skene.apply_stripe_event(jsonb) IS
    'Apply a flattened event once: applied, duplicate, stale, unmatched (kept until the customer is known) or ignored';

CREATE FUNCTION @extschema@.skene_stripe_webhook(payload text, signature text) RETURNS text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'skene_stripe_webhook';
CREATE FUNCTION @extschema@.skene_stripe_webhook(payload json, signature text) RETURNS text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'skene_stripe_webhook';
CREATE FUNCTION @extschema@.skene_stripe_webhook(payload bytea, signature text) RETURNS text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'skene_stripe_webhook';

COMMENT ON FUNCTION @extschema@.skene_stripe_webhook(bytea, text) IS
'Verify a Stripe event (the raw request body, at most 1 MiB, and the Stripe-Signature header) and apply it once. Returns applied, duplicate, stale (older than what is known), unmatched (kept until skene_identify names the Stripe customer) or ignored. Errors, to be answered with HTTP 400: 28000 bad signature, 22023 not a Stripe event, 22004 null, 54000 too large; 55000 no secret configured. Example: SELECT skene_stripe_webhook($1::bytea, $2)';
COMMENT ON FUNCTION @extschema@.skene_stripe_webhook(text, text) IS
'skene_stripe_webhook for a body held as text, byte for byte as received. Example: SELECT skene_stripe_webhook($1::text, $2)';
COMMENT ON FUNCTION @extschema@.skene_stripe_webhook(json, text) IS
'skene_stripe_webhook for a body held as json (never jsonb, which changes the bytes). Example: SELECT skene_stripe_webhook($1::json, $2)';

CREATE FUNCTION @extschema@.skene_stripe_hook(json) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    headers json := nullif(current_setting('request.headers', true), '')::json;
BEGIN
    RETURN json_build_object('result',
        @extschema@.skene_stripe_webhook($1, headers->>'stripe-signature'));
EXCEPTION WHEN invalid_authorization_specification OR invalid_parameter_value
            OR null_value_not_allowed OR program_limit_exceeded THEN
    PERFORM set_config('response.status', '400', true);
    RETURN json_build_object('error', SQLERRM);
END
$$;
COMMENT ON FUNCTION @extschema@.skene_stripe_hook(json) IS
'skene_stripe_webhook as a PostgREST endpoint: POST /rpc/skene_stripe_hook; 400 when the event is refused. Grant with skene_grant_role(role, ''hook'')';
