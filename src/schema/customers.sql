-- customers.sql: who the customers are and which plan they have. These functions
-- run as the extension's owner with a pinned search_path, so a role that may call
-- them needs no right on a table.

CREATE FUNCTION skene.check_user_id(user_id text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    IF user_id IS NULL THEN
        RAISE EXCEPTION 'user id must not be null'
            USING ERRCODE = '22004', HINT = 'Pass the id of the account that is limited and billed.';
    ELSIF octet_length(user_id) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'user id must have 1 to 255 bytes'
            USING ERRCODE = '22023', DETAIL = format('It has %s bytes.', octet_length(user_id));
    END IF;
END
$$;

CREATE FUNCTION skene.valid_address(address text) RETURNS boolean
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'skene_valid_address';

CREATE FUNCTION skene.check_address(address text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    IF address IS NULL THEN
        RAISE EXCEPTION 'e-mail address must not be null' USING ERRCODE = '22004';
    ELSIF NOT skene.valid_address(address) THEN
        RAISE EXCEPTION 'not an e-mail address'
            USING ERRCODE = '22023', HINT = 'Pass one bare address, such as ada@example.com.';
    END IF;
END
$$;

CREATE FUNCTION skene.check_plan(plan text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM skene.plans p WHERE p.plan = check_plan.plan) THEN
        RAISE EXCEPTION 'plan "%" does not exist', left(plan, 63)
            USING ERRCODE = '42704',
                  HINT = coalesce('Plans are: '
                                  || (SELECT string_agg(p.plan, ', ' ORDER BY p.rank, p.plan)
                                        FROM skene.plans p) || '.',
                                  'No plan is configured; apply a configuration with skene_apply().');
    END IF;
END
$$;

CREATE FUNCTION skene.check_feature(feature text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    IF feature IS NULL THEN
        RAISE EXCEPTION 'feature must not be null' USING ERRCODE = '22004';
    ELSIF NOT EXISTS (SELECT FROM skene.features f WHERE f.feature = check_feature.feature) THEN
        RAISE EXCEPTION 'feature "%" does not exist', left(feature, 63)
            USING ERRCODE = '42704',
                  HINT = coalesce('Features are: '
                                  || (SELECT string_agg(f.feature, ', ' ORDER BY f.feature)
                                        FROM skene.features f) || '.',
                                  'No feature is configured; apply a configuration with skene_apply().');
    END IF;
END
$$;

-- The plan in force: its name and rank, null without configuration.
CREATE FUNCTION skene.plan_of(user_id text, OUT plan text, OUT rank integer)
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT c.plan, c.rank FROM skene.customer_plans c WHERE c.user_id = $1
    UNION ALL
    SELECT p.plan, p.rank FROM skene.plans p
     WHERE p.is_default AND NOT EXISTS (SELECT FROM skene.customer_plans c WHERE c.user_id = $1)
$$;

-- Record what a change of subscriptions did to a customer's plan, and credit the last
-- prompt for it. Call with the plan and rank from before the change.
CREATE FUNCTION skene.note_plan_change(changed_user text, old_plan text, old_rank integer,
                                       subscription text) RETURNS void
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    now_at   timestamptz;
    planned  record;
    paid     record;
    prompt   record;
BEGIN
    SELECT * INTO planned FROM skene.plan_of(changed_user);
    IF planned.plan IS NOT DISTINCT FROM old_plan THEN
        RETURN;
    END IF;
    now_at := skene.gate_time();
    SELECT s.amount, s.currency INTO paid FROM skene.subscriptions s
     WHERE s.subscription_id = subscription;
    SELECT p.prompt_id, p.feature, p.first_denied_at INTO prompt FROM skene.prompts p
     WHERE p.user_id = changed_user
       AND p.last_denied_at > now_at - current_setting('skene_gate.attribution_window')::interval
     ORDER BY p.last_denied_at DESC, p.prompt_id DESC LIMIT 1;
    INSERT INTO skene.conversions (user_id, kind, from_plan, to_plan, prompt_id, feature,
                                   time_to_convert, amount, currency, subscription_id, converted_at)
    SELECT changed_user, change.kind, old_plan, planned.plan,
           CASE WHEN change.up THEN prompt.prompt_id END,
           CASE WHEN change.up THEN prompt.feature END,
           CASE WHEN change.up THEN now_at - prompt.first_denied_at END,
           paid.amount, paid.currency, subscription, now_at
      FROM (SELECT planned.rank > old_rank AS up,
                   CASE WHEN EXISTS (SELECT FROM skene.plans WHERE plan = old_plan AND is_default)
                        THEN 'conversion'
                        WHEN EXISTS (SELECT FROM skene.plans WHERE plan = planned.plan AND is_default)
                        THEN 'churn'
                        WHEN planned.rank > old_rank THEN 'upgrade'
                        ELSE 'downgrade' END AS kind) AS change;
END
$$;

-- Subscriptions that came before their customer did. Rows that are locked are left to
-- whoever holds them: an event that stays unmatched wakes the worker, who calls this again.
CREATE FUNCTION skene.match_subscriptions(stripe_customer text) RETURNS void
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    orphan    record;
    old_plan  record;
BEGIN
    FOR orphan IN
        SELECT s.subscription_id, c.user_id
          FROM skene.subscriptions s JOIN skene.customers c USING (stripe_customer_id)
         WHERE s.user_id IS NULL AND ($1 IS NULL OR s.stripe_customer_id = $1)
           FOR UPDATE OF s SKIP LOCKED
    LOOP
        SELECT * INTO old_plan FROM skene.plan_of(orphan.user_id);
        UPDATE skene.subscriptions s SET user_id = orphan.user_id
         WHERE s.subscription_id = orphan.subscription_id;
        PERFORM skene.note_plan_change(orphan.user_id, old_plan.plan, old_plan.rank,
                                       orphan.subscription_id);
    END LOOP;
END
$$;
COMMENT ON FUNCTION skene.match_subscriptions(text) IS
'Give subscriptions without a customer to the one that has their Stripe customer; null: of all Stripe customers';

CREATE FUNCTION @extschema@.skene_identify(user_id text, email text DEFAULT NULL,
        name text DEFAULT NULL, attributes jsonb DEFAULT NULL, stripe_customer_id text DEFAULT NULL,
        locale text DEFAULT NULL, time_zone text DEFAULT NULL, created_at timestamptz DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM skene.check_user_id(skene_identify.user_id);
    IF email IS NOT NULL THEN
        PERFORM skene.check_address(email);
    END IF;
    IF jsonb_typeof(attributes) <> 'object' THEN
        RAISE EXCEPTION 'attributes must be a JSON object' USING ERRCODE = '22023';
    END IF;
    IF octet_length(stripe_customer_id) NOT BETWEEN 1 AND 255 OR octet_length(name) > 1024
       OR octet_length(locale) > 63 OR octet_length(attributes::text) > 65536 THEN
        RAISE EXCEPTION 'customer data is too long'
            USING ERRCODE = '22023',
                  HINT = 'stripe_customer_id takes 1 to 255 bytes, name 1 kB, locale 63 bytes, attributes 64 kB.';
    END IF;
    IF created_at NOT BETWEEN '2000-01-01+00' AND skene.gate_time() + interval '1 day' THEN
        RAISE EXCEPTION 'created_at must lie between the year 2000 and now' USING ERRCODE = '22023';
    END IF;
    -- an unknown zone raises 22023 here
    PERFORM now() AT TIME ZONE time_zone;

    INSERT INTO skene.customers AS c (user_id, email, name, attributes, stripe_customer_id, locale,
                                      time_zone, anchor, created_at)
    VALUES (skene_identify.user_id, skene_identify.email, skene_identify.name,
            coalesce(skene_identify.attributes, '{}'), skene_identify.stripe_customer_id,
            skene_identify.locale, skene_identify.time_zone,
            skene.agree_on_anchor(skene_identify.user_id,
                                  coalesce(skene_identify.created_at, skene.gate_time())),
            coalesce(skene_identify.created_at, skene.gate_time()))
    ON CONFLICT (user_id) DO UPDATE
       SET email = coalesce(excluded.email, c.email),
           name = coalesce(excluded.name, c.name),
           attributes = coalesce(skene_identify.attributes, c.attributes),
           stripe_customer_id = coalesce(excluded.stripe_customer_id, c.stripe_customer_id),
           locale = coalesce(excluded.locale, c.locale),
           time_zone = coalesce(excluded.time_zone, c.time_zone),
           created_at = coalesce(skene_identify.created_at, c.created_at),
           updated_at = skene.gate_time();

    IF skene_identify.stripe_customer_id IS NOT NULL THEN
        PERFORM skene.match_subscriptions(skene_identify.stripe_customer_id);
    END IF;
    -- the worker sends prompts that waited for the address, and matches the subscriptions
    -- of transactions that commit beside this one
    IF skene_identify.email IS NOT NULL OR skene_identify.stripe_customer_id IS NOT NULL THEN
        PERFORM skene.wake_worker('address');
    END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.skene_identify(text, text, text, jsonb, text, text, text, timestamptz) IS
'Tell who a customer is; arguments left null stay as they are. created_at fixes where windows of a fixed number of days begin, unless they have begun; locale picks the language of e-mails; marketing, true or false, among the attributes is consent. Errors: 22004 null id, 22023 bad value, 23505 the Stripe customer belongs to another id. Example: SELECT skene_identify(''u1'', email => ''ada@example.com'', name => ''Ada'')';

CREATE FUNCTION @extschema@.skene_identify(user_uuid uuid, email text DEFAULT NULL,
        name text DEFAULT NULL, attributes jsonb DEFAULT NULL, stripe_customer_id text DEFAULT NULL,
        locale text DEFAULT NULL, time_zone text DEFAULT NULL, created_at timestamptz DEFAULT NULL)
RETURNS void LANGUAGE sql
RETURN @extschema@.skene_identify($1::text, $2, $3, $4, $5, $6, $7, $8);
COMMENT ON FUNCTION @extschema@.skene_identify(uuid, text, text, jsonb, text, text, text, timestamptz) IS
'skene_identify for uuid ids, which become lower-case text. Example: SELECT skene_identify(id, email) FROM users';

CREATE FUNCTION @extschema@.skene_identify(user_bigint bigint, email text DEFAULT NULL,
        name text DEFAULT NULL, attributes jsonb DEFAULT NULL, stripe_customer_id text DEFAULT NULL,
        locale text DEFAULT NULL, time_zone text DEFAULT NULL, created_at timestamptz DEFAULT NULL)
RETURNS void LANGUAGE sql
RETURN @extschema@.skene_identify($1::text, $2, $3, $4, $5, $6, $7, $8);
COMMENT ON FUNCTION @extschema@.skene_identify(bigint, text, text, jsonb, text, text, text, timestamptz) IS
'skene_identify for bigint ids, which become decimal text. Example: SELECT skene_identify(id, email) FROM users';

CREATE FUNCTION @extschema@.skene_set_plan(user_id text, plan text, ends_at timestamptz DEFAULT NULL,
                                           reason text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    manual    text;
    old_plan  record;
BEGIN
    PERFORM skene.check_user_id(skene_set_plan.user_id);
    manual := 'manual:' || skene_set_plan.user_id;
    SELECT * INTO old_plan FROM skene.plan_of(skene_set_plan.user_id);
    IF skene_set_plan.plan IS NULL THEN
        DELETE FROM skene.subscriptions WHERE subscription_id = manual;
    ELSE
        PERFORM skene.check_plan(skene_set_plan.plan);
        INSERT INTO skene.subscriptions AS s (subscription_id, user_id, source, plan, status,
                                              current_period_start, ends_at, reason)
        VALUES (manual, skene_set_plan.user_id, 'manual', skene_set_plan.plan, 'active',
                skene.gate_time(), skene_set_plan.ends_at, skene_set_plan.reason)
        ON CONFLICT (subscription_id) DO UPDATE
           SET plan = excluded.plan, ends_at = excluded.ends_at, reason = excluded.reason,
               updated_at = skene.gate_time();
    END IF;
    PERFORM skene.note_plan_change(skene_set_plan.user_id, old_plan.plan, old_plan.rank, manual);
END
$$;
COMMENT ON FUNCTION @extschema@.skene_set_plan(text, text, timestamptz, text) IS
'Give a customer a plan by hand, until ends_at if given; plan null takes it back. The best plan of all subscriptions is in force. Errors: 22004 null id, 42704 unknown plan. Example: SELECT skene_set_plan(''u1'', ''pro'', now() + interval ''1 year'', ''invoice 17'')';

CREATE FUNCTION @extschema@.skene_set_plan(user_uuid uuid, plan text, ends_at timestamptz DEFAULT NULL,
                                           reason text DEFAULT NULL)
RETURNS void LANGUAGE sql RETURN @extschema@.skene_set_plan($1::text, $2, $3, $4);
COMMENT ON FUNCTION @extschema@.skene_set_plan(uuid, text, timestamptz, text) IS
'skene_set_plan for uuid ids. Example: SELECT skene_set_plan(id, ''pro'') FROM users';

CREATE FUNCTION @extschema@.skene_set_plan(user_bigint bigint, plan text, ends_at timestamptz DEFAULT NULL,
                                           reason text DEFAULT NULL)
RETURNS void LANGUAGE sql RETURN @extschema@.skene_set_plan($1::text, $2, $3, $4);
COMMENT ON FUNCTION @extschema@.skene_set_plan(bigint, text, timestamptz, text) IS
'skene_set_plan for bigint ids. Example: SELECT skene_set_plan(id, ''pro'') FROM users';

CREATE FUNCTION @extschema@.skene_override(user_id text, feature text, usage_limit bigint,
                                           expires_at timestamptz DEFAULT NULL, reason text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM skene.check_user_id(skene_override.user_id);
    PERFORM skene.check_feature(skene_override.feature);
    IF skene_override.usage_limit < 0 THEN
        RAISE EXCEPTION 'usage_limit must not be negative' USING ERRCODE = '22023';
    END IF;
    INSERT INTO skene.overrides AS o (user_id, feature, usage_limit, expires_at, reason)
    VALUES (skene_override.user_id, skene_override.feature, skene_override.usage_limit,
            skene_override.expires_at, skene_override.reason)
    ON CONFLICT (user_id, feature) DO UPDATE
       SET usage_limit = excluded.usage_limit, expires_at = excluded.expires_at,
           reason = excluded.reason, created_at = skene.gate_time();
END
$$;
COMMENT ON FUNCTION @extschema@.skene_override(text, text, bigint, timestamptz, text) IS
'Set a limit for one customer in place of the plan''s, until expires_at if given; usage_limit null is unlimited. Errors: 22004 null id, 42704 unknown feature, 22023 negative limit. Example: SELECT skene_override(''u1'', ''export'', 500, now() + interval ''7 days'', ''goodwill'')';

CREATE FUNCTION @extschema@.skene_grant(user_id text, feature text, amount bigint,
        expires_at timestamptz DEFAULT NULL, priority integer DEFAULT 0, reason text DEFAULT NULL,
        idempotency_key text DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    granted skene.grants;
BEGIN
    PERFORM skene.check_user_id(skene_grant.user_id);
    IF skene_grant.feature IS NULL OR skene_grant.amount IS NULL OR skene_grant.priority IS NULL THEN
        RAISE EXCEPTION 'feature, amount and priority must not be null' USING ERRCODE = '22004';
    END IF;
    IF NOT EXISTS (SELECT FROM skene.features f WHERE f.feature = skene_grant.feature) THEN
        RAISE EXCEPTION 'feature "%" does not exist', skene_grant.feature USING ERRCODE = '42704';
    END IF;
    IF skene_grant.amount <= 0 THEN
        RAISE EXCEPTION 'amount must be greater than zero' USING ERRCODE = '22023';
    END IF;
    IF octet_length(skene_grant.idempotency_key) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'idempotency key must have 1 to 255 bytes' USING ERRCODE = '22023';
    END IF;
    INSERT INTO skene.grants AS g (user_id, feature, amount, expires_at, priority, reason, idempotency_key)
    VALUES (skene_grant.user_id, skene_grant.feature, skene_grant.amount, skene_grant.expires_at,
            skene_grant.priority, skene_grant.reason, skene_grant.idempotency_key)
    ON CONFLICT (user_id, feature, idempotency_key) DO NOTHING
    RETURNING * INTO granted;
    IF NOT FOUND THEN
        SELECT * INTO granted FROM skene.grants g
         WHERE g.user_id = skene_grant.user_id AND g.feature = skene_grant.feature
           AND g.idempotency_key = skene_grant.idempotency_key;
        IF granted.amount <> skene_grant.amount THEN
            RAISE EXCEPTION 'idempotency key was used with another amount'
                USING ERRCODE = '22023', HINT = 'Use a new key for a new grant.';
        END IF;
    -- the quota, its rates and grants must fit into what the engine keeps of a customer's
    -- feature (max_rules), or the customer could not use it at all
    ELSIF 1 + (SELECT count(*) FROM skene.grants g
                WHERE g.user_id = skene_grant.user_id AND g.feature = skene_grant.feature
                  AND (g.expires_at IS NULL OR g.expires_at > skene.gate_time())
                  AND NOT EXISTS (SELECT FROM skene.usage u
                                   WHERE u.user_id = g.user_id AND u.feature = g.feature
                                     AND u.period = 'grant:' || g.grant_id AND u.used >= g.amount))
            + (SELECT coalesce(max(r.rates), 0)
                 FROM (SELECT count(*) AS rates FROM skene.entitlements e JOIN skene.features f USING (feature)
                        WHERE e.feature = skene_grant.feature AND e.period <> f.period
                        GROUP BY e.plan) AS r) > 6 THEN
        RAISE EXCEPTION 'customer "%" has too many grants of feature "%"', skene_grant.user_id, skene_grant.feature
            USING ERRCODE = '54000', DETAIL = 'The limit, its rates and the grants not used up can be 6 together.',
                  HINT = 'Enlarge a grant instead: UPDATE skene.grants SET amount = amount + ...';
    END IF;
    RETURN granted.grant_id;
END
$$;
COMMENT ON FUNCTION @extschema@.skene_grant(text, text, bigint, timestamptz, integer, text, text) IS
'Give a customer amount extra units of a feature, once, until expires_at if given; returns the grant''s id. They are used when the plan''s units of a window are used up, those of higher priority and earlier expiry first. A repeat of an idempotency_key returns the same grant. Errors: 22004 null, 22023 bad amount or key, 42704 unknown feature, 54000 more than 5 not used up. Example: SELECT skene_grant(''u1'', ''export'', 50, reason => ''goodwill'')';
