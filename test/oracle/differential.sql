/*
 * differential.sql: play one random history through the oracle and a subject.
 *
 * CALL oracle.play(seed, steps, subject) draws operations from a seed, performs
 * each on both sides, and stops at the first one they answer differently, with
 * the ten that led to it. The subject is a schema: where the extension is
 * installed, or a copy of the oracle (to test this test).
 *
 * Invariant: both sides see the same operations in the same transactions and
 * savepoints, so any difference is a mistake of one of them.
 *
 * Load after oracle.sql. One play at a time: it replaces the configuration.
 */
\set ON_ERROR_STOP on
SET client_min_messages = warning;

/* -- What is drawn ------------------------------------------------------ */

/* Draw a whole number from 0 to n - 1. */
CREATE OR REPLACE FUNCTION oracle.draw(n integer)
RETURNS integer LANGUAGE sql VOLATILE AS $$ SELECT floor(random() * n)::integer $$;

/* Draw one of several. */
CREATE OR REPLACE FUNCTION oracle.draw(choices anyarray)
RETURNS anyelement LANGUAGE sql VOLATILE AS $$
    SELECT choices[1 + oracle.draw(cardinality(choices))]
$$;

/* Draw a configuration in canonical form: always the same names, never the same limits. */
CREATE OR REPLACE FUNCTION oracle.draw_configuration()
RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    periods  text[] := ARRAY['1d', '7d', '30d', 'minute', 'hour', 'day', 'week', 'month', 'year',
                             'lifetime', 'lifetime', '30d'];
    features jsonb := '[]';
    entitlements jsonb := '[]';
    feature  text;
    period   text;
    plan     text;
    draws    integer;
BEGIN
    FOREACH feature IN ARRAY ARRAY['api_calls', 'Export', 'projects', 'seats', 'x:1.y-z'] LOOP
        period := oracle.draw(periods);
        features := features || jsonb_build_object(
            'feature', feature, 'period', period, 'endpoints', '[]'::jsonb, 'warn_at', '[]'::jsonb,
            'message', oracle.draw(ARRAY[NULL, 'Enough of "' || feature || '" for now.']),
            'prompt_provider', NULL, 'prompt_template', NULL);
        FOREACH plan IN ARRAY ARRAY['free', 'pro', 'team', 'scale'] LOOP
            draws := oracle.draw(10);
            IF draws < 8 THEN           /* else the plan is not entitled */
                entitlements := entitlements || jsonb_build_object(
                    'feature', feature, 'plan', plan, 'period', period,
                    'usage_limit', CASE draws WHEN 0 THEN NULL WHEN 1 THEN 0
                                   ELSE 1 + oracle.draw(12) END);
            END IF;
        END LOOP;
    END LOOP;
    RETURN jsonb_build_object(
        'plans', '[{"plan": "free",  "rank": 0, "is_default": true,  "prices": []},
                   {"plan": "pro",   "rank": 1, "is_default": false, "prices": ["price_pro"]},
                   {"plan": "team",  "rank": 2, "is_default": false, "prices": ["price_team"]},
                   {"plan": "scale", "rank": 5, "is_default": false, "prices": []}]'::jsonb,
        'features', features, 'entitlements', entitlements, 'templates', '[]'::jsonb,
        'settings', jsonb_build_array(
            jsonb_build_object('name', 'timeZone', 'value', oracle.draw(
                ARRAY['UTC', 'America/New_York', 'Asia/Kathmandu', 'Australia/Lord_Howe'])),
            jsonb_build_object('name', 'upgradeUrl', 'value', 'https://example.com/upgrade')));
END $$;

/* Write a canonical configuration as the document a user would write. */
CREATE OR REPLACE FUNCTION oracle.as_document(canonical jsonb)
RETURNS text LANGUAGE sql AS $$
    SELECT jsonb_build_object(
        'plans', (SELECT jsonb_object_agg(p ->> 'plan', jsonb_build_object(
                             'rank', p -> 'rank', 'default', p -> 'is_default',
                             'prices', p -> 'prices'))
                    FROM jsonb_array_elements(canonical -> 'plans') AS p),
        'features', (SELECT jsonb_object_agg(f ->> 'feature',
                       jsonb_strip_nulls(jsonb_build_object(
                           'period', f -> 'period', 'message', f -> 'message'))
                       || jsonb_build_object('limit', (
                           SELECT coalesce(jsonb_object_agg(e ->> 'plan', e -> 'usage_limit'), '{}')
                             FROM jsonb_array_elements(canonical -> 'entitlements') AS e
                            WHERE e -> 'feature' = f -> 'feature')))
                       FROM jsonb_array_elements(canonical -> 'features') AS f),
        'settings', (SELECT coalesce(jsonb_object_agg(s ->> 'name', s -> 'value'), '{}')
                       FROM jsonb_array_elements(canonical -> 'settings') AS s))::text
$$;

/* Draw the arguments of a counting or looking function, at most one of them bad. */
CREATE OR REPLACE FUNCTION oracle.draw_arguments(customers text[], takes_key boolean)
RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    customer text := oracle.draw(customers);        /* as "user_id => 'u1'" */
    feature  text := oracle.draw(ARRAY['api_calls', 'Export', 'projects', 'seats', 'x:1.y-z']);
    amount   text := CASE WHEN oracle.draw(150) = 0
                     THEN oracle.draw(ARRAY['9223372036854775807', '9223372036854775800', '4294967296'])
                     ELSE oracle.draw(ARRAY['1', '1', '1', '2', '3', '5']) END;
    key      text := CASE WHEN takes_key AND oracle.draw(4) = 0
                     THEN quote_literal(oracle.draw(ARRAY['k1', 'k2', 'K1', 'clé ''4''', repeat('k', 255)])) END;
BEGIN
    IF oracle.draw(20) = 0 THEN
        CASE oracle.draw(CASE WHEN takes_key THEN 12 ELSE 10 END)
        WHEN 0 THEN customer := 'user_id => NULL';
        WHEN 1 THEN customer := 'user_id => ''''';
        WHEN 2 THEN customer := format('user_id => %L', repeat('é', 128));
        WHEN 3 THEN feature := NULL;
        WHEN 4 THEN feature := '';
        WHEN 5 THEN feature := repeat('f', 64);
        WHEN 6 THEN feature := 'EXPORT';            /* names are case-sensitive */
        WHEN 7 THEN amount := 'NULL';
        WHEN 8 THEN amount := '0';
        WHEN 9 THEN amount := oracle.draw(ARRAY['-1', '-9223372036854775808']);
        WHEN 10 THEN key := '''''';
        WHEN 11 THEN key := quote_literal(repeat('k', 256));
        END CASE;
    END IF;
    RETURN concat_ws(', ', customer, format('feature => %L', feature),
                     'amount => ' || amount, 'idempotency_key => ' || key);
END $$;

/* Draw an operation; "@." stands for the schema of a side. */
CREATE OR REPLACE FUNCTION oracle.draw_operation(customers text[])
RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    /* refund, usage, set_plan and identify have no overloads */
    texts    text[] := ARRAY(SELECT c FROM unnest(customers) AS c WHERE c LIKE 'user_id %');
    customer text := oracle.draw(texts);
    die      integer := oracle.draw(100);
BEGIN
    IF oracle.draw(100) = 0 THEN
        customer := 'user_id => ' || oracle.draw(ARRAY['NULL', '''''', quote_literal(repeat('x', 256))]);
    END IF;
    RETURN CASE
    WHEN die < 25 THEN
        format('SELECT to_jsonb(@.skene_consume(%s))', oracle.draw_arguments(customers, true))
    WHEN die < 45 THEN
        format('SELECT to_jsonb(d) FROM @.skene_decide(%s) AS d', oracle.draw_arguments(customers, true))
    WHEN die < 53 THEN
        format('SELECT ''"void"''::jsonb FROM @.skene_require(%s)', oracle.draw_arguments(customers, true))
    WHEN die < 63 THEN
        format('SELECT to_jsonb(d) FROM @.skene_check(%s) AS d', oracle.draw_arguments(customers, false))
    WHEN die < 70 THEN
        format('SELECT to_jsonb(@.skene_allows(%s))', oracle.draw_arguments(customers, false))
    WHEN die < 83 THEN
        format('SELECT to_jsonb(@.skene_refund(%s))', oracle.draw_arguments(texts, true))
    WHEN die < 90 THEN
        format('SELECT jsonb_agg(to_jsonb(u)) FROM @.skene_usage(%s) AS u', customer)
    WHEN die < 97 THEN
        format('SELECT ''"void"''::jsonb FROM (SELECT @.skene_set_plan(%s, plan => %L, ends_at => %s)) AS x',
               customer,
               oracle.draw(ARRAY['free', 'pro', 'pro', 'team', 'scale', NULL, 'platinum']),
               oracle.draw(ARRAY['NULL', 'NULL', 'now() + interval ''1 day''',
                                 'now() - interval ''1 day''', '''infinity''']))
    ELSE
        /* Told customers have an anchor, which must not move; others may have one on one side
           only, as a rolled-back first use is free to leave it behind. */
        format('SELECT ''"void"''::jsonb FROM (SELECT @.skene_identify(%s, name => %L, created_at => %L)) AS x',
               customer, oracle.draw(ARRAY['Zoë', NULL]),
               CASE WHEN customer LIKE '%-told-%' THEN '2020-02-02 02:02Z' END)
    END;
END $$;

/* -- How it is performed and compared ----------------------------------- */

/* Perform an operation on one side; an error is an answer like any other. */
CREATE OR REPLACE FUNCTION oracle.perform(operation text, side text)
RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    answer jsonb;
    error  text;
    detail text;
    hint   text;
BEGIN
    EXECUTE replace(operation, '@.', quote_ident(side) || '.') INTO answer;
    RETURN coalesce(answer, 'null');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS error = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    answer := jsonb_build_object('sqlstate', SQLSTATE, 'error', error);
    IF SQLSTATE = 'PT402' THEN          /* its detail is the decision */
        answer := answer || jsonb_build_object('decision', jsonb_strip_nulls(detail::jsonb),
                                               'has_hint', hint <> '');
    END IF;
    RETURN answer;
END $$;

/* Put a configuration in force on one side. */
CREATE OR REPLACE FUNCTION oracle.configure(canonical jsonb, side text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF to_regprocedure(format('%I.load(jsonb)', side)) IS NOT NULL THEN
        EXECUTE format('SELECT %I.load($1)', side) USING canonical;
    ELSE
        EXECUTE format('SELECT FROM %I.skene_apply($1, prune => true)', side)
          USING oracle.as_document(canonical);
    END IF;
END $$;

/*
 * Describe the first difference between two answers; null when there is none.
 *
 * Times may differ by "slack": the sides read the clock one after the other, and
 * each fixes the anchor of a customer it was not told about when it first counts.
 */
CREATE OR REPLACE FUNCTION oracle.difference(expected jsonb, actual jsonb, slack interval, place text DEFAULT 'answer')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text;
    item  text;
    same  boolean := expected = actual;
BEGIN
    IF same THEN
        RETURN NULL;
    ELSIF jsonb_typeof(expected) = 'object' AND jsonb_typeof(actual) = 'object'
          AND (expected ? 'sqlstate') = (actual ? 'sqlstate') THEN
        IF expected ? 'sqlstate' AND expected ->> 'sqlstate' <> 'PT402' THEN
            /* the wording of other errors is free */
            expected := expected - 'error';
            actual := actual - 'error';
            /* an impossible feature name is unknown or invalid, as you like it */
            IF expected ->> 'sqlstate' = '22023' AND actual ->> 'sqlstate' = '42704' THEN
                expected := actual;
            END IF;
        END IF;
        FOR item IN SELECT jsonb_object_keys(expected || actual) LOOP
            found := oracle.difference(
                CASE WHEN expected ? item THEN expected -> item ELSE '"absent"' END,
                CASE WHEN actual ? item THEN actual -> item ELSE '"absent"' END, slack, item);
            EXIT WHEN found IS NOT NULL;
        END LOOP;
        RETURN found;
    ELSIF jsonb_typeof(expected) = 'array' AND jsonb_typeof(actual) = 'array'
          AND jsonb_array_length(expected) = jsonb_array_length(actual) THEN
        FOR i IN 0 .. jsonb_array_length(expected) - 1 LOOP
            found := oracle.difference(expected -> i, actual -> i, slack, place);
            EXIT WHEN found IS NOT NULL;
        END LOOP;
        RETURN found;
    ELSIF jsonb_typeof(expected) = 'string' AND jsonb_typeof(actual) = 'string'
          AND actual <> '"absent"' THEN
        IF place IN ('resets_at', 'window_start') AND expected::text !~ 'infinity'
           AND actual::text !~ 'infinity' THEN
            same := abs(extract(epoch FROM (expected #>> '{}')::timestamptz - (actual #>> '{}')::timestamptz))
                    <= extract(epoch FROM slack);
        END IF;
    ELSIF place = 'retry_after' AND jsonb_typeof(expected) = 'number' AND jsonb_typeof(actual) = 'number' THEN
        same := abs(expected::numeric - actual::numeric) <= ceil(extract(epoch FROM slack));
    END IF;
    RETURN CASE WHEN NOT same THEN format('%s is %s, should be %s', place, actual, expected) END;
END $$;

/* -- The play ----------------------------------------------------------- */

DROP PROCEDURE IF EXISTS oracle.play;
DROP FUNCTION IF EXISTS oracle.play_block, oracle.play_step;
DROP TYPE IF EXISTS oracle.scene;

/* What a play carries from step to step; survives every rollback, being no table. */
CREATE TYPE oracle.scene AS (
    seed bigint, step bigint, subject text, customers text[], started timestamptz,
    history text[], tally jsonb         /* how often each outcome was seen */
);

/* Perform one operation on both sides, and stop the play if they differ. */
CREATE FUNCTION oracle.play_step(scene oracle.scene)
RETURNS oracle.scene LANGUAGE plpgsql AS $$
DECLARE
    operation text;
    canonical jsonb;
    expected  jsonb;
    actual    jsonb;
    found     text;
    outcome   text;
BEGIN
    /* Both calls must fall into one window: stay away from the ends of minutes. */
    IF extract(second FROM clock_timestamp()) > 58 THEN
        PERFORM pg_sleep(60.05 - extract(second FROM clock_timestamp()));
    END IF;

    scene.step := scene.step + 1;
    IF oracle.draw(150) = 0 THEN
        canonical := oracle.draw_configuration();
        scene.history := scene.history || format('configure %s', oracle.as_document(canonical));
        PERFORM oracle.configure(canonical, 'oracle');
        PERFORM oracle.configure(canonical, scene.subject);
        RETURN scene;
    END IF;

    operation := oracle.draw_operation(scene.customers);
    actual := oracle.perform(operation, scene.subject);
    expected := oracle.perform(operation, 'oracle');
    scene.history := scene.history || format('%s -> %s', operation, expected);
    found := CASE WHEN expected ->> 'sqlstate' NOT IN ('22003', '22004', '22023', '42704', 'PT402')
             THEN 'the oracle itself fails'
             ELSE oracle.difference(expected, actual,
                                    clock_timestamp() - scene.started + interval '2 seconds') END;
    outcome := coalesce(expected ->> 'sqlstate', expected ->> 'reason', jsonb_typeof(expected));
    IF (expected ->> 'replayed')::boolean THEN
        outcome := 'replayed';
    END IF;
    scene.tally := scene.tally
                   || jsonb_build_object(outcome, coalesce((scene.tally -> outcome)::integer, 0) + 1);
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'seed %, step %: %', scene.seed, scene.step, found
        USING ERRCODE = 'OR001',
              DETAIL = format(E'oracle:  %s\n%s: %s\nThe last operations:\n%s', expected, scene.subject, actual,
                              array_to_string(scene.history[greatest(1, cardinality(scene.history) - 9):], E'\n'));
    END IF;
    RETURN scene;
END $$;

/* Play a few steps, some in savepoints within savepoints, which may be rolled back. */
CREATE FUNCTION oracle.play_block(scene oracle.scene, depth integer)
RETURNS oracle.scene LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 0 .. oracle.draw(5) LOOP
        IF depth < 4 AND oracle.draw(4) = 0 THEN
            BEGIN
                scene.history := scene.history || 'SAVEPOINT'::text;
                scene := oracle.play_block(scene, depth + 1);
                IF oracle.draw(2) = 0 THEN
                    RAISE EXCEPTION USING ERRCODE = 'OR000', MESSAGE = 'roll back';
                END IF;
                scene.history := scene.history || 'RELEASE'::text;
            EXCEPTION WHEN SQLSTATE 'OR000' THEN
                scene.history := scene.history || 'ROLLBACK TO SAVEPOINT'::text;
            END;
        ELSE
            scene := oracle.play_step(scene);
        END IF;
    END LOOP;
    scene.history := scene.history[greatest(1, cardinality(scene.history) - 30):];
    RETURN scene;
END $$;

/* Play a history of about that many steps; raises OR001 at the first difference. */
CREATE PROCEDURE oracle.play(seed bigint, steps bigint, subject text DEFAULT 'public')
LANGUAGE plpgsql AS $$
DECLARE
    scene     oracle.scene;
    canonical jsonb;
    /* customers of earlier plays have used things up: these are new */
    play      text := floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    created   text;
BEGIN
    PERFORM setseed((seed % 1000003) / 1000003.0);
    scene.seed := seed;
    scene.step := 0;
    scene.subject := subject;
    scene.started := clock_timestamp();
    scene.history := '{}';
    scene.tally := '{}';
    scene.customers := ARRAY[
        format('user_id => %L', play || '-told-1'),
        format('user_id => %L', play || '-told-2'),
        format('user_id => %L', play || '-new-1'),
        format('user_id => %L', play || ' O''Nø'),
        format('user_id => %L', rpad(play, 255, 'x')),
        format('user_uuid => %L::uuid', md5(play)),
        format('user_id => %L', md5(play)::uuid),       /* the same one */
        format('user_bigint => -%s', play),
        format('user_id => ''-%s''', play)];

    canonical := oracle.draw_configuration();
    PERFORM oracle.configure(canonical, 'oracle');
    PERFORM oracle.configure(canonical, subject);
    /* Created at an odd hour, so that no window ends during the play. */
    FOR i IN 1..2 LOOP
        created := format('SELECT @.skene_identify(%s, created_at => %L)', scene.customers[i],
            scene.started - make_interval(days => oracle.draw(400), hours => 6 + oracle.draw(12)));
        EXECUTE replace(created, '@.', 'oracle.');
        EXECUTE replace(created, '@.', quote_ident(subject) || '.');
    END LOOP;
    COMMIT;

    WHILE scene.step < steps LOOP
        scene := oracle.play_block(scene, 0);
        IF oracle.draw(4) = 0 THEN
            ROLLBACK;
            scene.history := scene.history || 'ROLLBACK'::text;
        ELSE
            COMMIT;
            scene.history := scene.history || 'COMMIT'::text;
        END IF;
    END LOOP;
    RAISE NOTICE 'seed %: % steps, no difference; %', seed, scene.step, scene.tally;
END $$;
