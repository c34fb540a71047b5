/*
 * oracle.sql: the counting contract a second time, in plain PL/pgSQL.
 *
 * It exists to disagree with the extension when one of the two is wrong, so it
 * shares nothing with it and prefers the obvious to the fast: whoever counts
 * first locks the customer's row until the end of the transaction. Runs on a
 * stock PostgreSQL 15 to 18.
 *
 * Invariant: under the lock of a customer, oracle.usage holds exactly what was
 * admitted and not given back, so "used + amount <= usage_limit" decides alone.
 */
\set ON_ERROR_STOP on
SET client_min_messages = warning;

BEGIN;

DROP SCHEMA IF EXISTS oracle CASCADE;
CREATE SCHEMA oracle;

/* -- Configuration ------------------------------------------------------ */

CREATE TABLE oracle.plans (
    plan        text COLLATE "C" PRIMARY KEY,
    rank        integer NOT NULL,
    is_default  boolean NOT NULL
);

CREATE TABLE oracle.features (
    feature     text COLLATE "C" PRIMARY KEY,
    period      text NOT NULL,
    message     text
);

CREATE TABLE oracle.entitlements (
    feature     text COLLATE "C",
    plan        text COLLATE "C",
    period      text,                   /* null = the feature's */
    usage_limit bigint,                 /* null = unlimited */
    PRIMARY KEY (feature, plan)
);

CREATE TABLE oracle.settings (
    name        text COLLATE "C" PRIMARY KEY,
    value       text
);

/* Replace the configuration by a document in canonical form. */
CREATE FUNCTION oracle.load(document jsonb)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM oracle.plans;
    DELETE FROM oracle.features;
    DELETE FROM oracle.entitlements;
    DELETE FROM oracle.settings;

    INSERT INTO oracle.plans
    SELECT p.plan, coalesce(p.rank, 0), coalesce(p.is_default, false)
      FROM jsonb_to_recordset(document -> 'plans')
           AS p (plan text, rank integer, is_default boolean);

    INSERT INTO oracle.features
    SELECT f.feature, f.period, f.message
      FROM jsonb_to_recordset(document -> 'features')
           AS f (feature text, period text, message text);

    INSERT INTO oracle.entitlements
    SELECT e.feature, e.plan, e.period, e.usage_limit
      FROM jsonb_to_recordset(document -> 'entitlements')
           AS e (feature text, plan text, period text, usage_limit bigint);

    INSERT INTO oracle.settings
    SELECT s ->> 'name', s ->> 'value'
      FROM jsonb_array_elements(document -> 'settings') AS s;
END $$;

/* -- State -------------------------------------------------------------- */

CREATE TABLE oracle.customers (
    user_id     text COLLATE "C" PRIMARY KEY,
    anchor      timestamptz,            /* null until first counted or told */
    email       text,
    name        text,
    attributes  jsonb,
    stripe_customer_id text,
    locale      text,
    time_zone   text
);

CREATE TABLE oracle.subscriptions (     /* the manual one */
    user_id     text COLLATE "C" PRIMARY KEY,
    plan        text COLLATE "C" NOT NULL,
    ends_at     timestamptz,
    reason      text
);

CREATE TABLE oracle.usage (
    user_id     text COLLATE "C",
    feature     text COLLATE "C",
    period      text,
    window_start timestamptz,
    used        bigint NOT NULL CHECK (used >= 0),
    PRIMARY KEY (user_id, feature, period, window_start)
);

CREATE TABLE oracle.keys (
    kind        text,                   /* consume or refund: separate spaces */
    user_id     text COLLATE "C",
    feature     text COLLATE "C",
    key         text COLLATE "C",
    amount      bigint NOT NULL,
    PRIMARY KEY (kind, user_id, feature, key)
);

CREATE TYPE oracle.skene_decision AS (
    allowed boolean, reason text, feature text, used bigint, usage_limit bigint,
    remaining bigint, resets_at timestamptz, retry_after bigint, plan text,
    upgrade_plan text, message text, upgrade_url text, replayed boolean
);

/* -- Time --------------------------------------------------------------- */

/* Tell the time: the wall clock, shifted by the setting oracle.clock_offset. */
CREATE FUNCTION oracle.now()
RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT clock_timestamp()
           + coalesce(nullif(current_setting('oracle.clock_offset', true), ''), '0')::interval
$$;

/* Say how far the clocks of a zone are ahead of UTC at an instant. */
CREATE FUNCTION oracle.utc_offset(t timestamptz, zone text)
RETURNS interval LANGUAGE sql STABLE AS $$
    SELECT (t AT TIME ZONE zone) - (t AT TIME ZONE 'UTC')
$$;

/* Find the first instant after "before" at which the clocks show the offset of "after". */
CREATE FUNCTION oracle.clock_change(before timestamptz, after timestamptz, zone text)
RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
    middle timestamptz;
BEGIN
    WHILE after - before > interval '1 microsecond' LOOP
        middle := before + (after - before) / 2;
        IF oracle.utc_offset(middle, zone) = oracle.utc_offset(after, zone) THEN
            after := middle;
        ELSE
            before := middle;
        END IF;
    END LOOP;
    RETURN after;
END $$;

/*
 * Find the first instant at which the clocks of a zone have reached a local time.
 *
 * AT TIME ZONE alone will not do: of a local time shown twice it takes the
 * second, and one that was skipped lands after the change of the clocks.
 */
CREATE FUNCTION oracle.first_instant(local_time timestamp, zone text)
RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
DECLARE
    around      timestamptz := local_time AT TIME ZONE zone;
    day_before  timestamptz := around - interval '24 hours';
    day_after   timestamptz := around + interval '24 hours';
    by_old      timestamptz := local_time AT TIME ZONE 'UTC' - oracle.utc_offset(day_before, zone);
    by_new      timestamptz := local_time AT TIME ZONE 'UTC' - oracle.utc_offset(day_after, zone);
    change      timestamptz;
BEGIN
    IF by_old = by_new THEN
        RETURN by_old;
    END IF;
    change := oracle.clock_change(day_before, day_after, zone);
    RETURN CASE WHEN by_old < change THEN by_old ELSE greatest(change, by_new) END;
END $$;

/*
 * Find the window that holds an instant.
 *
 * Days and longer last from one local midnight to another, however long that
 * is. Hours and minutes are those of UTC, whatever the zone.
 */
CREATE FUNCTION oracle.window_at(period text, t timestamptz, anchor timestamptz, zone text,
                                 OUT window_start timestamptz, OUT window_end timestamptz)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    local_time  timestamp := t AT TIME ZONE zone;
    label       timestamp;
    step        interval;
    hours       integer;
BEGIN
    IF period = 'lifetime' THEN
        window_start := '-infinity';
        window_end := 'infinity';

    ELSIF period ~ '^[1-9][0-9]*d$' THEN
        hours := 24 * rtrim(period, 'd')::integer;
        window_start := anchor + make_interval(hours =>
            hours * floor(extract(epoch FROM t - anchor) / (3600 * hours))::integer);
        window_end := window_start + make_interval(hours => hours);

    ELSIF period IN ('minute', 'hour') THEN
        window_start := date_trunc(period, t, 'UTC');
        window_end := window_start + ('1 ' || period)::interval;

    ELSIF period IN ('day', 'week', 'month', 'year') THEN
        label := date_trunc(period, local_time);
        step := ('1 ' || period)::interval;
        /* Clocks set back over midnight show yesterday's date again: it is still today. */
        IF oracle.first_instant(label + step, zone) <= t THEN
            label := label + step;
        END IF;
        window_start := oracle.first_instant(label, zone);
        window_end := oracle.first_instant(label + step, zone);

    ELSE
        RAISE EXCEPTION 'unknown period "%"', period USING ERRCODE = '22023';
    END IF;
END $$;

/* -- Deciding ----------------------------------------------------------- */

/* Refuse an id that names nobody. */
CREATE FUNCTION oracle.demand_user(who text)
RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF who IS NULL THEN
        RAISE EXCEPTION 'user_id must not be null' USING ERRCODE = '22004';
    ELSIF octet_length(who) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'user_id must have 1 to 255 bytes' USING ERRCODE = '22023';
    END IF;
END $$;

/* Refuse arguments that no counting function takes. */
CREATE FUNCTION oracle.demand(who text, what text, n bigint, key text)
RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF what IS NULL OR n IS NULL THEN
        RAISE EXCEPTION 'feature and amount must not be null' USING ERRCODE = '22004';
    END IF;
    PERFORM oracle.demand_user(who);
    IF n <= 0 THEN
        RAISE EXCEPTION 'amount must be positive' USING ERRCODE = '22023';
    ELSIF octet_length(key) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'idempotency_key must have 1 to 255 bytes' USING ERRCODE = '22023';
    ELSIF octet_length(what) NOT BETWEEN 1 AND 63 THEN
        RAISE EXCEPTION 'feature must have 1 to 63 bytes' USING ERRCODE = '22023';
    ELSIF NOT EXISTS (SELECT FROM oracle.features f WHERE f.feature = what) THEN
        RAISE EXCEPTION 'unknown feature "%"', what
        USING ERRCODE = '42704',
              HINT = 'Known features: '
                     || (SELECT coalesce(string_agg(f.feature, ', ' ORDER BY f.feature), 'none')
                           FROM oracle.features f);
    END IF;
END $$;

/* Lock a customer until the end of the transaction; the row may be new. */
CREATE FUNCTION oracle.lock_customer(who text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO oracle.customers (user_id) VALUES (who) ON CONFLICT DO NOTHING;
    PERFORM FROM oracle.customers c WHERE c.user_id = who FOR UPDATE;
END $$;

/* Where a customer stands with a feature at an instant. */
CREATE TYPE oracle.standing AS (
    plan text, rank integer, entitled boolean, usage_limit bigint, period text,
    window_start timestamptz, window_end timestamptz, used bigint
);

/* Look up plan, limit, window and count. */
CREATE FUNCTION oracle.standing_of(who text, what text, t timestamptz)
RETURNS oracle.standing LANGUAGE plpgsql AS $$
DECLARE
    s oracle.standing;
BEGIN
    SELECT p.plan, p.rank INTO s.plan, s.rank
      FROM oracle.plans p
      LEFT JOIN oracle.subscriptions b
             ON b.plan = p.plan AND b.user_id = who AND (b.ends_at IS NULL OR b.ends_at > t)
     WHERE b.plan IS NOT NULL OR p.is_default
     ORDER BY b.plan IS NULL, p.rank DESC
     LIMIT 1;

    SELECT e.plan IS NOT NULL,
           CASE WHEN e.plan IS NULL THEN 0 ELSE e.usage_limit END,
           coalesce(e.period, f.period)
      INTO s.entitled, s.usage_limit, s.period
      FROM oracle.features f
      LEFT JOIN oracle.entitlements e ON e.feature = f.feature AND e.plan = s.plan
     WHERE f.feature = what;

    SELECT w.window_start, w.window_end INTO s.window_start, s.window_end
      FROM oracle.window_at(
               s.period, t,
               coalesce((SELECT c.anchor FROM oracle.customers c WHERE c.user_id = who), t),
               coalesce((SELECT x.value FROM oracle.settings x WHERE x.name = 'timeZone'), 'UTC')
           ) AS w;

    s.used := coalesce((SELECT u.used FROM oracle.usage u
                         WHERE u.user_id = who AND u.feature = what
                           AND u.period = s.period AND u.window_start = s.window_start), 0);
    RETURN s;
END $$;

/* Say whether a key was used before; the same key for another amount is an error. */
CREATE FUNCTION oracle.is_repeat(which text, who text, what text, k text, n bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    earlier bigint;
BEGIN
    SELECT i.amount INTO earlier FROM oracle.keys i
     WHERE i.kind = which AND i.user_id = who AND i.feature = what AND i.key = k;
    IF earlier <> n THEN
        RAISE EXCEPTION 'idempotency key "%" was used with another amount', k
        USING ERRCODE = '22023';
    END IF;
    RETURN earlier IS NOT NULL;
END $$;

/* Decide on an amount and, if it counts and is allowed, count it. */
CREATE FUNCTION oracle.answer(who text, what text, n bigint, key text, counts boolean)
RETURNS oracle.skene_decision LANGUAGE plpgsql AS $$
DECLARE
    d oracle.skene_decision;
    s oracle.standing;
    t timestamptz;
BEGIN
    PERFORM oracle.demand(who, what, n, key);
    IF counts THEN
        PERFORM oracle.lock_customer(who);
    END IF;

    t := oracle.now();                  /* after the wait for the lock */
    s := oracle.standing_of(who, what, t);
    d.replayed := counts AND oracle.is_repeat('consume', who, what, key, n);

    IF d.replayed THEN
        d.allowed := true;
    ELSIF NOT s.entitled THEN
        d.allowed := false;
        d.reason := 'not_entitled';
    ELSIF s.usage_limit IS NULL AND s.used > 9223372036854775807 - n THEN
        RAISE EXCEPTION 'usage of "%" is out of range', what USING ERRCODE = '22003';
    ELSIF n > s.usage_limit - s.used THEN
        d.allowed := false;
        d.reason := 'limit_reached';
    ELSE
        d.allowed := true;
        IF counts THEN
            UPDATE oracle.customers c SET anchor = coalesce(c.anchor, t) WHERE c.user_id = who;
            INSERT INTO oracle.usage AS u
            VALUES (who, what, s.period, s.window_start, n)
            ON CONFLICT ON CONSTRAINT usage_pkey DO UPDATE SET used = u.used + n;
            s.used := s.used + n;
            IF key IS NOT NULL THEN
                INSERT INTO oracle.keys VALUES ('consume', who, what, key, n);
            END IF;
        END IF;
    END IF;

    d.feature := what;
    d.used := s.used;
    d.usage_limit := s.usage_limit;
    d.remaining := greatest(s.usage_limit - s.used, 0);
    IF s.usage_limit IS NULL THEN
        d.remaining := null;            /* greatest() passes over nulls */
    END IF;
    d.resets_at := nullif(s.window_end, 'infinity');
    d.plan := s.plan;

    IF d.allowed THEN
        d.reason := CASE WHEN s.usage_limit IS NULL THEN 'unlimited' ELSE 'ok' END;
        RETURN d;
    END IF;

    IF d.reason = 'limit_reached' THEN
        d.retry_after := ceil(extract(epoch FROM d.resets_at - t));
    END IF;
    d.upgrade_plan := (SELECT p.plan
                         FROM oracle.plans p JOIN oracle.entitlements e USING (plan)
                        WHERE e.feature = what AND p.rank > s.rank
                          AND (e.usage_limit IS NULL OR e.usage_limit > s.usage_limit)
                        ORDER BY p.rank, p.plan LIMIT 1);
    d.message := coalesce((SELECT f.message FROM oracle.features f WHERE f.feature = what),
                          CASE d.reason
                          WHEN 'limit_reached' THEN 'You have reached the limit of your plan.'
                          ELSE 'Your plan does not include this feature.' END);
    d.upgrade_url := (SELECT x.value FROM oracle.settings x WHERE x.name = 'upgradeUrl');
    RETURN d;
END $$;

/* -- The contract: functions that count --------------------------------- */

/* Count an amount if all of it fits, and say everything about it. */
CREATE FUNCTION oracle.skene_decide(user_id text, feature text, amount bigint DEFAULT 1,
                                    idempotency_key text DEFAULT NULL)
RETURNS oracle.skene_decision LANGUAGE sql AS $$
    SELECT oracle.answer(user_id, feature, amount, idempotency_key, true)
$$;

/* Count an amount if all of it fits. */
CREATE FUNCTION oracle.skene_consume(user_id text, feature text, amount bigint DEFAULT 1,
                                     idempotency_key text DEFAULT NULL)
RETURNS boolean LANGUAGE sql AS $$
    SELECT (oracle.answer(user_id, feature, amount, idempotency_key, true)).allowed
$$;

/* Count an amount or raise. */
CREATE FUNCTION oracle.skene_require(user_id text, feature text, amount bigint DEFAULT 1,
                                     idempotency_key text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    d oracle.skene_decision := oracle.answer(user_id, feature, amount, idempotency_key, true);
BEGIN
    IF NOT d.allowed THEN
        RAISE EXCEPTION USING
            ERRCODE = 'PT402',
            MESSAGE = d.message,
            DETAIL = to_jsonb(d)::text,
            HINT = CASE WHEN d.upgrade_plan IS NULL THEN 'No plan allows more.'
                   ELSE concat_ws(' ', 'Upgrade to', d.upgrade_plan, d.upgrade_url) END;
    END IF;
END $$;

/* Give back what was counted in the current window; returns what is left. */
CREATE FUNCTION oracle.skene_refund(user_id text, feature text, amount bigint,
                                    idempotency_key text DEFAULT NULL)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    s oracle.standing;
BEGIN
    PERFORM oracle.demand(user_id, feature, amount, idempotency_key);
    PERFORM oracle.lock_customer(user_id);
    s := oracle.standing_of(user_id, feature, oracle.now());
    IF oracle.is_repeat('refund', user_id, feature, idempotency_key, amount) THEN
        RETURN s.used;
    ELSIF amount > s.used THEN
        RAISE EXCEPTION 'refund of % exceeds the % used', amount, s.used USING ERRCODE = '22003';
    END IF;
    UPDATE oracle.usage u SET used = u.used - amount
     WHERE u.user_id = skene_refund.user_id AND u.feature = skene_refund.feature
       AND u.period = s.period AND u.window_start = s.window_start;
    IF idempotency_key IS NOT NULL THEN
        INSERT INTO oracle.keys VALUES ('refund', user_id, feature, idempotency_key, amount);
    END IF;
    RETURN s.used - amount;
END $$;

/* -- The contract: functions that only look ----------------------------- */

/* Decide without counting. */
CREATE FUNCTION oracle.skene_check(user_id text, feature text, amount bigint DEFAULT 1)
RETURNS oracle.skene_decision LANGUAGE sql STABLE AS $$
    SELECT oracle.answer(user_id, feature, amount, NULL, false)
$$;

/* Say whether an amount would be allowed; a null argument is nobody's right. */
CREATE FUNCTION oracle.skene_allows(user_id text, feature text, amount bigint DEFAULT 1)
RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF user_id IS NULL OR feature IS NULL OR amount IS NULL THEN
        RETURN false;
    END IF;
    RETURN (oracle.answer(user_id, feature, amount, NULL, false)).allowed;
END $$;

/* List where a customer stands with every feature. */
CREATE FUNCTION oracle.skene_usage(user_id text)
RETURNS TABLE (feature text, period text, used bigint, usage_limit bigint, remaining bigint,
               window_start timestamptz, resets_at timestamptz, plan text, entitled boolean)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    t timestamptz := oracle.now();
BEGIN
    PERFORM oracle.demand_user(user_id);
    RETURN QUERY
    SELECT f.feature, s.period, s.used, s.usage_limit,
           CASE WHEN s.usage_limit IS NOT NULL THEN greatest(s.usage_limit - s.used, 0) END,
           nullif(s.window_start, '-infinity'), nullif(s.window_end, 'infinity'), s.plan, s.entitled
      FROM oracle.features f
     CROSS JOIN LATERAL oracle.standing_of(skene_usage.user_id, f.feature, t) AS s
     ORDER BY f.feature COLLATE "C";
END $$;

/* -- The contract: customers -------------------------------------------- */

/* Put a customer on a plan by hand; a null plan takes the manual one away. */
CREATE FUNCTION oracle.skene_set_plan(user_id text, plan text, ends_at timestamptz DEFAULT NULL,
                                      reason text DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM oracle.demand_user(skene_set_plan.user_id);
    PERFORM oracle.lock_customer(skene_set_plan.user_id);
    IF NOT EXISTS (SELECT FROM oracle.plans p WHERE p.plan = skene_set_plan.plan)
       AND skene_set_plan.plan IS NOT NULL THEN
        RAISE EXCEPTION 'unknown plan "%"', skene_set_plan.plan USING ERRCODE = '42704';
    END IF;
    DELETE FROM oracle.subscriptions b WHERE b.user_id = skene_set_plan.user_id;
    IF skene_set_plan.plan IS NOT NULL THEN
        INSERT INTO oracle.subscriptions
        VALUES (skene_set_plan.user_id, skene_set_plan.plan, skene_set_plan.ends_at,
                skene_set_plan.reason);
    END IF;
END $$;

/* Say who a customer is; null leaves a field as it is, and an anchor never moves. */
CREATE FUNCTION oracle.skene_identify(user_id text, email text DEFAULT NULL, name text DEFAULT NULL,
                                      attributes jsonb DEFAULT NULL,
                                      stripe_customer_id text DEFAULT NULL,
                                      locale text DEFAULT NULL, time_zone text DEFAULT NULL,
                                      created_at timestamptz DEFAULT NULL)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM oracle.demand_user(skene_identify.user_id);
    PERFORM oracle.lock_customer(skene_identify.user_id);
    UPDATE oracle.customers c
       SET anchor = coalesce(c.anchor, skene_identify.created_at),
           email = coalesce(skene_identify.email, c.email),
           name = coalesce(skene_identify.name, c.name),
           attributes = coalesce(skene_identify.attributes, c.attributes),
           stripe_customer_id = coalesce(skene_identify.stripe_customer_id, c.stripe_customer_id),
           locale = coalesce(skene_identify.locale, c.locale),
           time_zone = coalesce(skene_identify.time_zone, c.time_zone)
     WHERE c.user_id = skene_identify.user_id;
END $$;

/* -- The contract: uuid and bigint ids ---------------------------------- */

/* Add the overloads, each of which only turns its id into text. */
DO $$
DECLARE
    id record;
    f record;
BEGIN
    FOR id IN VALUES ('user_uuid', 'uuid'), ('user_bigint', 'bigint') LOOP
        FOR f IN VALUES ('skene_consume', 'boolean'), ('skene_decide', 'oracle.skene_decision'),
                        ('skene_require', 'void') LOOP
            EXECUTE format('CREATE FUNCTION oracle.%2$s(%1$s %4$s, feature text,
                                amount bigint DEFAULT 1, idempotency_key text DEFAULT NULL)
                            RETURNS %3$s LANGUAGE sql AS
                            ''SELECT oracle.%2$s(%1$s::text, feature, amount, idempotency_key)''',
                           id.column1, f.column1, f.column2, id.column2);
        END LOOP;
        FOR f IN VALUES ('skene_check', 'oracle.skene_decision'), ('skene_allows', 'boolean') LOOP
            EXECUTE format('CREATE FUNCTION oracle.%2$s(%1$s %4$s, feature text,
                                amount bigint DEFAULT 1)
                            RETURNS %3$s LANGUAGE sql STABLE AS
                            ''SELECT oracle.%2$s(%1$s::text, feature, amount)''',
                           id.column1, f.column1, f.column2, id.column2);
        END LOOP;
    END LOOP;
END $$;

COMMIT;
