-- Write the figures in bench.samples down as Markdown. A median of nothing is null: what
-- was not measured says so.
\pset null '–'
\set ON_ERROR_STOP on

-- Parts that were run; every section asks for its own.
SELECT coalesce(bool_or(part = 'rates'), false) AS rates, coalesce(bool_or(part = 'latency'), false) AS latency,
       coalesce(bool_or(part = 'growth'), false) AS growth, coalesce(bool_or(part = 'snapshot'), false) AS snapshot,
       coalesce(bool_or(part = 'wal'), false) AS wal,
       coalesce(bool_or(part = 'delivery'), false) AS delivery
  FROM bench.samples \gset

CREATE FUNCTION pg_temp.shown(value numeric) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN value IS NULL THEN '–' WHEN value >= 100 THEN to_char(value, 'FM999,999,999')
                ELSE to_char(value, 'FM990.00') END
$$;
CREATE FUNCTION pg_temp.rate(subject text, clients bigint DEFAULT 32) RETURNS numeric LANGUAGE sql AS $$
    SELECT bench.median('rates', subject, clients, 'tps')
$$;

\echo '# What it costs'
\echo
\echo 'Written by `make bench` (see `bench/run`, the cases are in `bench/cases`). pgbench -M prepared and the'
\echo 'server share the cores; cases took turns, run by run; medians. Compare figures of one table only.'
\echo
SELECT format('- %s: %s', f.name, f.value)
  FROM bench.facts f
  JOIN unnest('{PostgreSQL,skene_gate,Redis,machine,system,disk,load,runs}'::text[]) WITH ORDINALITY o (name, place)
 USING (name) ORDER BY o.place;

\if :rates
\echo
\echo '## Calls a second'
\echo
\echo '| | 1 client | 8 | 32 | its runs | 64 |'
\echo '|---|--:|--:|--:|--:|--:|'
SELECT format('| %s | %s | %s | %s | %s to %s | %s |', c.title, pg_temp.shown(pg_temp.rate(c.name, 1)),
              pg_temp.shown(pg_temp.rate(c.name, 8)), pg_temp.shown(pg_temp.rate(c.name)),
              pg_temp.shown(min(s.value)), pg_temp.shown(max(s.value)),
              pg_temp.shown(pg_temp.rate(c.name, 64)))
  FROM bench.cases c
  JOIN bench.samples s ON (s.part, s.subject, s.variant, s.measure) = ('rates', c.name, 32, 'tps')
 GROUP BY c.position, c.name, c.title ORDER BY c.position;
\echo
SELECT format('After a run the fold needed at most %s s until nothing was left to be folded. 32,000 calls of 32 '
              'clients against a limit of 10,000 left %s rows of the application''s.',
              pg_temp.shown(max(s.value) FILTER (WHERE s.measure = 'drain')),
              pg_temp.shown(max(s.value) FILTER (WHERE s.subject = 'burst')))
  FROM bench.samples s WHERE s.part = 'rates';
\endif

\if :latency
\echo
\echo '## Latency at 32 clients, ms'
\echo
\echo '| | p50 | p99 |'
\echo '|---|--:|--:|'
SELECT format('| %s | %s | %s |', c.title, to_char(bench.median('latency', c.name, 32, 'p50') / 1000, 'FM990.00'),
              to_char(bench.median('latency', c.name, 32, 'p99') / 1000, 'FM990.00'))
  FROM bench.cases c WHERE bench.median('latency', c.name, 32, 'p50') IS NOT NULL ORDER BY c.position;
\endif

-- What a call costs more among so many customers than among the fewest, round by round.
CREATE VIEW pg_temp.costs AS
SELECT many.subject, many.variant, few.value / many.value AS cost
  FROM bench.samples many
  JOIN bench.samples few USING (part, subject, round, measure)
 WHERE many.part = 'growth' AND many.measure = 'tps' AND many.subject IN ('update', 'consume_distinct')
   AND few.variant = (SELECT min(variant) FROM bench.samples WHERE part = 'growth' AND subject = 'update');
CREATE FUNCTION pg_temp.cost(subject text, variant bigint) RETURNS numeric LANGUAGE sql AS $$
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY c.cost)::numeric FROM pg_temp.costs c
     WHERE (c.subject, c.variant) = ($1, $2)
$$;

\if :growth
CREATE FUNCTION pg_temp.growth(subject text, variant bigint) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.shown(pg_temp.cost($1, $2)) || coalesce(
               (SELECT ' (' || string_agg(pg_temp.shown(c.cost), ' ' ORDER BY c.cost) || ')' FROM pg_temp.costs c
                 WHERE (c.subject, c.variant) = ($1, $2) HAVING min(c.cost) < max(c.cost)), '')
$$;
\echo
\echo '## Growth: calls a second among so many warm customers, 32 clients'
\echo
\echo '| customers | `skene_consume` | cost against the fewest | bare `UPDATE` | cost against the fewest | fold needed at most |'
\echo '|--:|--:|--:|--:|--:|--:|'
SELECT format('| %s | %s | %s | %s | %s | %s s |', to_char(variant, 'FM999,999,999'),
              pg_temp.shown(bench.median('growth', 'consume_distinct', variant, 'tps')),
              pg_temp.growth('consume_distinct', variant),
              pg_temp.shown(bench.median('growth', 'update', variant, 'tps')),
              pg_temp.growth('update', variant), pg_temp.shown(max(value) FILTER (WHERE measure = 'drain')))
  FROM bench.samples WHERE part = 'growth' AND subject IN ('update', 'consume_distinct')
 GROUP BY variant ORDER BY variant;
\echo
\echo 'Costs: the median of what each round gave, and all of them.'
\echo
SELECT format('Shared memory: %s.', value) FROM bench.facts WHERE name = 'shared memory of growth';
\echo
SELECT format('Cold, the first call of each of %s customers since the server started: %s a second.',
              to_char(variant, 'FM999,999,999'), pg_temp.shown(value))
  FROM bench.samples WHERE part = 'growth' AND subject = 'consume_cold';
\echo
SELECT format('Right after a checkpoint, when the first change of each page writes all of it into the WAL, '
              'the first %s calls, one for every 20 customers: %s a second, bare `UPDATE` %s.',
              to_char(variant, 'FM999,999,999'), pg_temp.shown(max(value) FILTER (WHERE subject = 'first_consume_distinct')),
              pg_temp.shown(max(value) FILTER (WHERE subject = 'first_update')))
  FROM bench.samples WHERE part = 'growth' AND subject LIKE 'first\_%' GROUP BY variant;
\endif

\if :snapshot
\echo
\echo '## A snapshot held open: one hot customer, 32 clients'
\echo
\echo '| | calls a second |'
\echo '|---|--:|'
SELECT format('| %s | %s |', CASE subject WHEN 'before' THEN 'before' WHEN 'after' THEN 'after'
                             WHEN 'held' THEN format('held, all %s s', variant)
                             ELSE format('held, until second %s', variant) END, pg_temp.shown(value))
  FROM bench.samples WHERE part = 'snapshot' AND measure = 'tps' AND subject <> 'paced'
 ORDER BY subject <> 'before', subject = 'after', subject = 'held', variant;
\echo
SELECT format('Still held, %s calls a second: at the end of 15 s %s events were not folded, %s s later none.',
              pg_temp.shown(bench.median('snapshot', 'paced', 5000, 'tps')),
              pg_temp.shown(bench.median('snapshot', 'paced', 5000, 'backlog')),
              pg_temp.shown(bench.median('snapshot', 'paced', 5000, 'drain')));
\endif

\if :wal
\echo
\echo '## WAL and CPU of a call, 32 clients'
\echo
\echo '| | WAL, bytes | of the fold | server CPU, µs | of the fold |'
\echo '|---|--:|--:|--:|--:|'
SELECT format('| %s | %s | %s | %s | %s |', c.title, pg_temp.shown(bench.median('wal', c.name, 32, 'bytes')),
              pg_temp.shown(bench.median('wal', c.name, 32, 'bytes_fold')),
              pg_temp.shown(bench.median('wal', c.name, 32, 'cpu')),
              pg_temp.shown(bench.median('wal', c.name, 32, 'cpu_fold')))
  FROM bench.cases c WHERE bench.median('wal', c.name, 32, 'bytes') IS NOT NULL ORDER BY c.position;
\endif

\if :delivery
CREATE FUNCTION pg_temp.delivery(subject text, variant bigint, measure text) RETURNS numeric LANGUAGE sql AS $$
    SELECT bench.median('delivery', subject, variant, measure)
$$;
\echo
\echo '## Delivery: messages a second, each a request of its own, 256 under way'
\echo
\echo 'Leases are committed durably before the request, every message is settled by itself, no rate limit.'
\echo
\echo '| answer after | messages a second | its runs | CPU of the worker, µs a message | of the whole server | of the provider |'
\echo '|---|--:|--:|--:|--:|--:|'
SELECT format('| %s | %s | %s to %s | %s | %s | %s |', d.title,
              pg_temp.shown(pg_temp.delivery(d.subject, d.variant, 'tps')),
              pg_temp.shown(min(s.value)), pg_temp.shown(max(s.value)),
              pg_temp.shown(pg_temp.delivery(d.subject, d.variant, 'cpu_worker')),
              pg_temp.shown(pg_temp.delivery(d.subject, d.variant, 'cpu_server')),
              pg_temp.shown(pg_temp.delivery(d.subject, d.variant, 'cpu_provider')))
  FROM (VALUES (1, 'messages', 1, '1 ms'), (2, 'messages', 100, '100 ms'),
               (3, 'prompts', 0, 'none, e-mails of prompts, which are checked again before'),
               (4, 'beside_hanging', 1, '1 ms, while 256 requests to the other provider hang')
       ) AS d (position, subject, variant, title)
  JOIN bench.samples s ON (s.part, s.subject, s.variant, s.measure) = ('delivery', d.subject, d.variant, 'tps')
 GROUP BY d.position, d.subject, d.variant, d.title ORDER BY d.position;
\echo
SELECT format('The provider by itself, asked by `ab`: %s a second at 1 ms, %s at 100 ms.',
              pg_temp.shown(pg_temp.delivery('provider', 1, 'tps')), pg_temp.shown(pg_temp.delivery('provider', 100, 'tps')));
\echo
SELECT format('From a denial to its request at the provider, %s denials that came one by one: median %s ms, p99 %s ms. '
              'DROP DATABASE while a request of its worker hangs: at most %s s.',
              max(value) FILTER (WHERE measure = 'count'), pg_temp.shown(max(value) FILTER (WHERE measure = 'p50')),
              pg_temp.shown(max(value) FILTER (WHERE measure = 'p99')),
              pg_temp.shown(max(value) FILTER (WHERE subject = 'drop_database')))
  FROM bench.samples WHERE part = 'delivery' AND subject IN ('wire', 'drop_database');
\echo
\echo '| 32 clients | transactions a second | WAL, bytes | server CPU, µs |'
\echo '|---|--:|--:|--:|'
SELECT format('| %s | %s | %s | %s |', c.title, pg_temp.shown(pg_temp.delivery(c.name, 32, 'tps')),
              pg_temp.shown(pg_temp.delivery(c.name, 32, 'bytes')), pg_temp.shown(pg_temp.delivery(c.name, 32, 'cpu')))
  FROM bench.cases c WHERE c.name IN ('work', 'work_enqueue') ORDER BY c.position;
\endif

\echo
\echo '## Bars'
\echo
\echo '| counting with 32 clients, delivery with one worker | bar | measured | |'
\echo '|---|--:|--:|---|'
WITH growth AS (
    SELECT max(variant) AS most, min(variant) AS fewest
      FROM bench.samples WHERE part = 'growth' AND subject = 'update'
), bars (bar, sign, threshold, measured) AS (
    SELECT b.bar, '≥', b.threshold, pg_temp.rate(b.subject) / pg_temp.rate(b.against)
      FROM (VALUES ('hot against by hand', 9, 'consume_hot', 'upsert_hot'),
                   ('hot with 5 ms of other work, against by hand', 25, 'consume_work', 'upsert_work'),
                   ('distinct against bare `UPDATE`', 0.95, 'consume_distinct', 'update'),
                   ('denied against `SELECT 1`', 0.85, 'denied', 'select_1'),
                   ('allows against `SELECT 1`', 0.85, 'allows', 'select_1'),
                   ('check against a constant row', 0.9, 'check', 'constant_row'),
                   ('decide, denied, against a constant row', 0.9, 'decide_denied', 'constant_row')
           ) AS b (bar, threshold, subject, against)
    UNION ALL
    SELECT 'p99 of hot against p99 of bare `UPDATE`', '≤', 2,
           bench.median('latency', 'consume_hot', 32, 'p99') / bench.median('latency', 'update', 32, 'p99')
    UNION ALL
    SELECT coalesce('cost of distinct, ' || to_char(most, 'FM999,999,999') || ' warm customers against '
                    || to_char(fewest, 'FM999,999,999'), 'cost of distinct among many warm customers'), '≤', 1.3,
           pg_temp.cost('consume_distinct', most)
      FROM growth
    UNION ALL
    SELECT 'hot while a snapshot is held, against before and after', '≥', 0.85,
           (SELECT avg(value) FROM bench.samples WHERE (part, subject, measure) = ('snapshot', 'held', 'tps'))
           / (SELECT avg(value) FROM bench.samples
               WHERE part = 'snapshot' AND subject IN ('before', 'after') AND measure = 'tps')
    UNION ALL
    SELECT 'events not folded after 15 s of 5,000 a second, then', '≤', 15000,
           bench.median('snapshot', 'paced', 5000, 'backlog')
    UNION ALL
    SELECT 'messages a second, answered after 1 ms', '≥', 2000, bench.median('delivery', 'messages', 1, 'tps')
    UNION ALL
    SELECT 'messages a second, answered after 100 ms', '≥', 1500, bench.median('delivery', 'messages', 100, 'tps')
    UNION ALL
    SELECT 'the provider''s own rate against these two', '≥', 2,
           least(bench.median('delivery', 'provider', 1, 'tps') / 2000, bench.median('delivery', 'provider', 100, 'tps') / 1500)
    UNION ALL
    SELECT 'messages a second while the other provider hangs, against without', '≥', 0.95,
           bench.median('delivery', 'beside_hanging', 1, 'ratio')
    UNION ALL
    SELECT 'denial to request, median, ms', '≤', 50, bench.median('delivery', 'wire', 400, 'p50')
    UNION ALL
    SELECT '`DROP DATABASE` while a request hangs, s', '≤', 2,
           (SELECT max(value) FROM bench.samples WHERE (part, subject) = ('delivery', 'drop_database'))
)
SELECT format('| %s | %s %s | %s | %s |', bar, sign, threshold, pg_temp.shown(measured),
              CASE WHEN measured IS NULL THEN 'not measured'
                   WHEN CASE sign WHEN '≥' THEN measured >= threshold ELSE measured <= threshold END THEN 'holds'
                   ELSE '**missed**' END)
  FROM bars;
\echo '| units counted and not consumed, or consumed and not counted | 0 | 0 | holds |'
