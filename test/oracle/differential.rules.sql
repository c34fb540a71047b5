/*
 * differential.rules.sql: the contract spelled out, one call and its answer a line.
 *
 * Two implementations can share a misreading; these answers were written down
 * by hand. SELECT oracle.check_rules(subject) plays them on a schema,
 * SELECT oracle.check_windows() tries the windows of the oracle. Both raise
 * OR001 at the first wrong answer. Load after differential.sql.
 *
 * Invariant: a rule lists only what it is about; other columns are free.
 */
\set ON_ERROR_STOP on
SET client_min_messages = warning;

/* Perform hand-written calls on one side and compare their answers; replaces its configuration. */
CREATE OR REPLACE FUNCTION oracle.check_rules(subject text DEFAULT 'public')
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    /* export: free 5, pro 10, team unlimited, in 30 days; sso: from team on; seats: for ever */
    canonical jsonb := '{
        "plans": [{"plan": "free", "rank": 0, "is_default": true, "prices": []},
                  {"plan": "pro", "rank": 1, "is_default": false, "prices": []},
                  {"plan": "team", "rank": 2, "is_default": false, "prices": []}],
        "features": [{"feature": "export", "period": "30d", "message": "No more exports."},
                     {"feature": "seats", "period": "lifetime"},
                     {"feature": "sso", "period": "month"}],
        "entitlements": [{"feature": "export", "plan": "free", "usage_limit": 5, "period": "30d"},
                         {"feature": "export", "plan": "pro", "usage_limit": 10, "period": "30d"},
                         {"feature": "export", "plan": "team", "usage_limit": null, "period": "30d"},
                         {"feature": "seats", "plan": "free", "usage_limit": 3, "period": "lifetime"},
                         {"feature": "sso", "plan": "team", "usage_limit": 1, "period": "month"}],
        "templates": [],
        "settings": [{"name": "upgradeUrl", "value": "https://example.com/up"}]}';
    run text := 'rules-' || floor(extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    rule record;
    operation text;
    answer jsonb;
BEGIN
    PERFORM oracle.configure(canonical, subject);
    FOR rule IN
        SELECT * FROM (VALUES
        /* All or nothing, up to the limit and not beyond. */
        ('consume', $c$'a', 'export'$c$,               'true'),
        ('consume', $c$'a', 'export', 3$c$,            'true'),
        ('consume', $c$'a', 'export', 2$c$,            'false'),
        ('decide',  $c$'a', 'export', 2$c$,            '{"allowed": false, "used": 4, "remaining": 1}'),
        ('check',   $c$'a', 'export'$c$,               '{"allowed": true, "used": 4, "remaining": 1}'),
        ('allows',  $c$'a', 'export', 2$c$,            'false'),
        ('decide',  $c$'a', 'export'$c$,
         '{"allowed": true, "reason": "ok", "feature": "export", "used": 5, "usage_limit": 5, "remaining": 0,
           "retry_after": null, "plan": "free", "upgrade_plan": null, "message": null, "upgrade_url": null,
           "replayed": false}'),
        ('decide',  $c$'a', 'export'$c$,
         '{"allowed": false, "reason": "limit_reached", "feature": "export", "used": 5, "usage_limit": 5,
           "remaining": 0, "plan": "free", "upgrade_plan": "pro", "message": "No more exports.",
           "upgrade_url": "https://example.com/up", "replayed": false}'),
        ('require', $c$'a', 'export'$c$,
         '{"sqlstate": "PT402", "error": "No more exports.", "has_hint": true,
           "decision": {"allowed": false, "reason": "limit_reached", "used": 5, "upgrade_plan": "pro"}}'),
        ('consume', $c$'a', 'export', 9223372036854775807$c$, 'false'),
        ('consume', $c$'b', 'export', 6$c$,            'false'),
        ('check',   $c$'b', 'export', 5$c$,            '{"allowed": true, "used": 0, "remaining": 5}'),

        /* A feature for life neither resets nor says when to come back. */
        ('decide',  $c$'a', 'seats', 4$c$,
         '{"allowed": false, "resets_at": null, "retry_after": null, "upgrade_plan": null,
           "message": "You have reached the limit of your plan."}'),

        /* A plan without the feature. */
        ('decide',  $c$'a', 'sso'$c$,
         '{"allowed": false, "reason": "not_entitled", "used": 0, "usage_limit": 0, "remaining": 0,
           "retry_after": null, "upgrade_plan": "team", "message": "Your plan does not include this feature."}'),

        /* Plans by hand: usage is carried, a plan that has ended does not count. */
        ('set_plan', $c$'a', 'pro'$c$,                 '"done"'),
        ('decide',  $c$'a', 'export', 2$c$,            '{"allowed": true, "used": 7, "usage_limit": 10, "plan": "pro"}'),
        ('decide',  $c$'a', 'export', 4$c$,            '{"allowed": false, "upgrade_plan": "team"}'),
        ('set_plan', $c$'a', 'team', now() + interval '1 day'$c$, '"done"'),
        ('decide',  $c$'a', 'export', 4$c$,
         '{"allowed": true, "reason": "unlimited", "used": 11, "usage_limit": null, "remaining": null}'),
        ('decide',  $c$'a', 'export', 9223372036854775800$c$, '{"sqlstate": "22003"}'),
        ('set_plan', $c$'b', 'team'$c$,                '"done"'),
        ('consume', $c$'b', 'export', 9223372036854775807$c$, 'true'),
        ('consume', $c$'b', 'export'$c$,               '{"sqlstate": "22003"}'),
        ('refund',  $c$'b', 'export', 9223372036854775807$c$, '0'),
        ('set_plan', $c$'a', 'team', now() - interval '1 day'$c$, '"done"'),
        ('check',   $c$'a', 'export'$c$,               '{"allowed": false, "plan": "free", "used": 11, "remaining": 0}'),
        ('set_plan', $c$'a', 'pro'$c$,                 '"done"'),
        ('set_plan', $c$'a', NULL$c$,                  '"done"'),
        ('check',   $c$'a', 'export'$c$,               '{"plan": "free"}'),
        ('set_plan', $c$'a', 'platinum'$c$,            '{"sqlstate": "42704"}'),
        ('set_plan', $c$NULL, 'pro'$c$,                '{"sqlstate": "22004"}'),

        /* Refunds: never below zero. */
        ('refund',  $c$'a', 'export', 7$c$,            '4'),
        ('refund',  $c$'a', 'export', 5$c$,            '{"sqlstate": "22003"}'),
        ('refund',  $c$'a', 'export', 0$c$,            '{"sqlstate": "22023"}'),
        ('refund',  $c$'a', 'export', NULL$c$,         '{"sqlstate": "22004"}'),
        ('consume', $c$'a', 'export'$c$,               'true'),
        ('consume', $c$'a', 'export'$c$,               'false'),

        /* Idempotency: a repeat of the last unit is not "limit reached". */
        ('decide',  $c$'c', 'export', 5, 'k'$c$,       '{"allowed": true, "used": 5, "replayed": false}'),
        ('decide',  $c$'c', 'export', 5, 'k'$c$,       '{"allowed": true, "reason": "ok", "used": 5, "replayed": true}'),
        ('consume', $c$'c', 'export', 5, 'k'$c$,       'true'),
        ('require', $c$'c', 'export', 5, 'k'$c$,       '"done"'),
        ('decide',  $c$'c', 'export', 4, 'k'$c$,       '{"sqlstate": "22023"}'),
        ('decide',  $c$'c', 'export', 5, 'K'$c$,       '{"allowed": false, "used": 5}'),
        ('consume', $c$'d', 'export', 5, 'k'$c$,       'true'),
        ('consume', $c$'c', 'seats', 1, 'k'$c$,        'true'),
        ('consume', $c$'c', 'export', 1, 'denied'$c$,  'false'),
        ('refund',  $c$'c', 'export', 2, 'k'$c$,       '3'),
        ('refund',  $c$'c', 'export', 2, 'k'$c$,       '3'),
        ('refund',  $c$'c', 'export', 1, 'k'$c$,       '{"sqlstate": "22023"}'),
        ('consume', $c$'c', 'export', 2, 'denied'$c$,  'true'),
        ('consume', $c$'c', 'export', 1, ''$c$,        '{"sqlstate": "22023"}'),
        ('consume', $c$'c', 'export', 1, repeat('k', 256)$c$, '{"sqlstate": "22023"}'),

        /* Bad input. */
        ('consume', $c$NULL, 'export'$c$,              '{"sqlstate": "22004"}'),
        ('consume', $c$'a', NULL$c$,                   '{"sqlstate": "22004"}'),
        ('consume', $c$'a', 'export', NULL$c$,         '{"sqlstate": "22004"}'),
        ('check',   $c$NULL, 'export'$c$,              '{"sqlstate": "22004"}'),
        ('allows',  $c$NULL, 'export'$c$,              'false'),
        ('allows',  $c$'a', NULL$c$,                   'false'),
        ('allows',  $c$'a', 'export', NULL$c$,         'false'),
        ('allows',  $c$'a', 'export', 0$c$,            '{"sqlstate": "22023"}'),
        ('consume', $c$'a', 'export', 0$c$,            '{"sqlstate": "22023"}'),
        ('consume', $c$'a', 'export', -1$c$,           '{"sqlstate": "22023"}'),
        ('consume', $c$'', 'export'$c$,                '{"sqlstate": "22023"}'),
        ('consume', $c$repeat('u', 256), 'export'$c$,  '{"sqlstate": "22023"}'),
        ('consume', $c$'a', 'Export'$c$,               '{"sqlstate": "42704"}'),
        ('identify', $c$NULL$c$,                       '{"sqlstate": "22004"}'),

        /* Ids: taken as they are, uuid and bigint become text. */
        ('consume', $c$'00000000-0000-0000-0000-00000000000a', 'export', 5$c$, 'true'),
        ('consume', $c$'00000000-0000-0000-0000-00000000000A'::uuid, 'export'$c$, 'false'),
        ('consume', $c$'00000000-0000-0000-0000-00000000000A', 'export'$c$, 'true'),
        ('consume', $c$-42, 'export', 5$c$,            'true'),
        ('check',   $c$'-42', 'export'$c$,             '{"used": 5}'),

        /* An anchor told is kept, and one told later changes nothing. */
        ('identify', $c$'e', created_at => timestamptz '2020-01-01 00:00:00+00'$c$, '"done"'),
        ('identify', $c$'e', created_at => timestamptz '2020-01-02 03:00:00+00'$c$, '"done"'),
        ('usage',   $c$'e'$c$,
         '[{"feature": "export", "period": "30d", "used": 0, "usage_limit": 5, "remaining": 5, "plan": "free", "entitled": true},
           {"feature": "seats", "period": "lifetime", "resets_at": null},
           {"feature": "sso", "period": "month", "usage_limit": 0, "remaining": 0, "entitled": false}]'),
        ('usage',   $c$NULL$c$,                        '{"sqlstate": "22004"}')
        ) AS r (name, arguments, expected)
    LOOP
        operation := CASE
            WHEN rule.name IN ('decide', 'check')
                THEN format('SELECT to_jsonb(x) FROM @.skene_%s(%s) AS x', rule.name, rule.arguments)
            WHEN rule.name = 'usage'
                THEN format('SELECT jsonb_agg(to_jsonb(x)) FROM @.skene_usage(%s) AS x', rule.arguments)
            WHEN rule.name IN ('require', 'set_plan', 'identify')
                THEN format('SELECT ''"done"''::jsonb FROM (SELECT @.skene_%s(%s)) AS x', rule.name, rule.arguments)
            ELSE format('SELECT to_jsonb(@.skene_%s(%s))', rule.name, rule.arguments)
        END;
        /* Customers of an earlier run would have used things up. */
        operation := regexp_replace(operation, '\(''([a-e])''', format('(''%s-\1''', run));
        answer := oracle.perform(operation, subject);
        IF NOT answer @> rule.expected::jsonb THEN
            RAISE EXCEPTION 'skene_%(%)', rule.name, rule.arguments
            USING ERRCODE = 'OR001', DETAIL = format(E'%s\nshould be %s', answer, rule.expected);
        END IF;
    END LOOP;

    /* Times: to the second, since the clock is real. */
    answer := oracle.perform(
        format('SELECT to_jsonb(extract(epoch FROM resets_at - ''2020-01-01 00:00Z'') / 86400 / 30)
                  FROM @.skene_check(''%s-e'', ''export'')', run), subject);
    IF answer::numeric <> trunc(answer::numeric) THEN
        RAISE EXCEPTION 'windows of 30 days do not start at the anchor: %', answer USING ERRCODE = 'OR001';
    END IF;
    answer := oracle.perform(
        format('SELECT to_jsonb(retry_after - extract(epoch FROM resets_at - clock_timestamp()))
                  FROM @.skene_check(''%s-e'', ''export'', 6)', run), subject);
    IF answer::numeric NOT BETWEEN 0 AND 2 THEN   -- rounded up, and the clock is read later
        RAISE EXCEPTION 'retry_after is off by % s', answer USING ERRCODE = 'OR001';
    END IF;
END $$;

/* Try that windows tile time, at random instants, and at the instants that are hard. */
CREATE OR REPLACE FUNCTION oracle.check_windows(tries integer DEFAULT 20000)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    periods text[] := ARRAY['1d', '7d', '30d', '365d', 'minute', 'hour', 'day', 'week', 'month', 'year'];
    zones   text[] := ARRAY['UTC', 'America/New_York', 'Europe/Berlin', 'Asia/Kathmandu',
                            'Australia/Lord_Howe',  /* half an hour of summer time */
                            'America/Sao_Paulo',    /* skipped midnights */
                            'America/Havana',       /* showed midnight twice */
                            'America/St_Johns',     /* went back over midnight, at 00:01 */
                            'Pacific/Apia'];        /* went without a day */
    moments timestamptz[] := ARRAY['2024-03-10 07:00Z', '2024-11-03 06:00Z', '2024-10-27 01:00Z',
                            '2024-04-06 15:00Z', '2024-10-05 15:30Z', '2018-11-04 03:00Z',
                            '2018-02-18 02:00Z', '2023-11-05 05:00Z', '2006-10-29 02:31Z',
                            '2011-12-30 10:00Z', '2024-02-29 12:00Z', '2025-01-01 00:00Z'];
    zone    text;
    period  text;
    t       timestamptz;
    anchor  timestamptz;
    w       record;
    other   record;
    known   record;
BEGIN
    /* Windows known from the wall: local times that the zone's people would give. */
    FOR known IN
        SELECT * FROM (VALUES
        ('day',    'America/New_York',    '2024-03-10 20:00Z', '2024-03-10 05:00Z', '2024-03-11 04:00Z'),
        ('day',    'America/New_York',    '2024-11-03 20:00Z', '2024-11-03 04:00Z', '2024-11-04 05:00Z'),
        ('hour',   'America/New_York',    '2024-11-03 05:30Z', '2024-11-03 05:00Z', '2024-11-03 06:00Z'),
        ('hour',   'America/New_York',    '2024-11-03 06:30Z', '2024-11-03 06:00Z', '2024-11-03 07:00Z'),
        ('hour',   'Asia/Kathmandu',      '2024-01-01 00:10Z', '2024-01-01 00:00Z', '2024-01-01 01:00Z'),
        ('day',    'America/Sao_Paulo',   '2018-11-04 12:00Z', '2018-11-04 03:00Z', '2018-11-05 02:00Z'),
        ('day',    'America/Havana',      '2023-11-05 04:30Z', '2023-11-05 04:00Z', '2023-11-06 05:00Z'),
        ('day',    'America/Havana',      '2023-11-05 05:30Z', '2023-11-05 04:00Z', '2023-11-06 05:00Z'),
        ('day',    'America/St_Johns',    '2006-10-29 03:00Z', '2006-10-29 02:30Z', '2006-10-30 03:30Z'),
        ('day',    'Pacific/Apia',        '2011-12-30 09:59Z', '2011-12-29 10:00Z', '2011-12-30 10:00Z'),
        ('day',    'Pacific/Apia',        '2011-12-30 10:00Z', '2011-12-30 10:00Z', '2011-12-31 10:00Z'),
        ('week',   'UTC',                 '2024-12-31 00:00Z', '2024-12-30 00:00Z', '2025-01-06 00:00Z'),
        ('week',   'Europe/Berlin',       '2024-03-31 12:00Z', '2024-03-24 23:00Z', '2024-03-31 22:00Z'),
        ('month',  'UTC',                 '2024-02-29 23:59Z', '2024-02-01 00:00Z', '2024-03-01 00:00Z'),
        ('month',  'Europe/Berlin',       '2024-03-31 22:30Z', '2024-03-31 22:00Z', '2024-04-30 22:00Z'),
        ('year',   'Europe/Berlin',       '2024-12-31 23:30Z', '2024-12-31 23:00Z', '2025-12-31 23:00Z'),
        ('minute', 'UTC',                 '2024-01-01 00:00Z', '2024-01-01 00:00Z', '2024-01-01 00:01Z'),
        /* the anchor is 2024-01-15 10:20 UTC; 24 hours a day, whatever clocks do */
        ('30d',    'America/New_York',    '2024-01-15 10:20Z', '2024-01-15 10:20Z', '2024-02-14 10:20Z'),
        ('30d',    'America/New_York',    '2024-03-20 00:00Z', '2024-03-15 10:20Z', '2024-04-14 10:20Z'),
        ('7d',     'UTC',                 '2024-01-15 10:19Z', '2024-01-08 10:20Z', '2024-01-15 10:20Z')
        ) AS k (period, zone, t, w_start, w_end)
    LOOP
        SELECT * INTO w FROM oracle.window_at(known.period, known.t::timestamptz, '2024-01-15 10:20Z', known.zone);
        IF w.window_start <> known.w_start::timestamptz OR w.window_end <> known.w_end::timestamptz THEN
            RAISE EXCEPTION '% of % in %: [%, %)', known.period, known.t, known.zone, w.window_start, w.window_end
            USING ERRCODE = 'OR001', DETAIL = format('should be [%s, %s)', known.w_start, known.w_end);
        END IF;
    END LOOP;

    FOR i IN 1..tries LOOP
        zone := oracle.draw(zones);
        period := oracle.draw(periods);
        anchor := timestamptz '2000-01-01 00:00Z' + random() * interval '9000 days';
        t := CASE WHEN i % 2 = 0 THEN timestamptz '1995-01-01 00:00Z' + random() * interval '16000 days'
             ELSE oracle.draw(moments) + (random() - 0.5) * interval '3 hours' END;
        t := date_trunc(oracle.draw(ARRAY['minute', 'microseconds']), t);
        SELECT * INTO w FROM oracle.window_at(period, t, anchor, zone);
        IF w.window_start > t OR w.window_end <= t THEN
            RAISE EXCEPTION '% of % in % is not within [%, %)', period, t, zone, w.window_start, w.window_end
            USING ERRCODE = 'OR001';
        END IF;
        /* Each end of a window belongs to the right one of its neighbours. */
        FOR other IN
            SELECT v.place, n.* FROM (VALUES ('first', w.window_start),
                                             ('last', w.window_end - interval '1 microsecond'),
                                             ('next', w.window_end),
                                             ('previous', w.window_start - interval '1 microsecond')) AS v (place, t)
             CROSS JOIN LATERAL oracle.window_at(period, v.t, anchor, zone) AS n
        LOOP
            IF (CASE other.place
                WHEN 'next' THEN other.window_start <> w.window_end
                WHEN 'previous' THEN other.window_end <> w.window_start
                ELSE other.window_start <> w.window_start OR other.window_end <> w.window_end END) THEN
                RAISE EXCEPTION '% of % in %, anchor %: [%, %) and its % [%, %)', period, t, zone, anchor,
                    w.window_start, w.window_end, other.place, other.window_start, other.window_end
                USING ERRCODE = 'OR001';
            END IF;
        END LOOP;
    END LOOP;
END $$;
