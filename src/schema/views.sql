-- views.sql: what there is to see.

CREATE VIEW skene.usage_totals AS
SELECT user_id, feature, period, window_start, max(window_end) AS window_end,
       sum(used)::bigint AS used
  FROM (SELECT u.user_id, u.feature, u.period, u.window_start, u.window_end, u.used
          FROM skene.usage u
        UNION ALL
        SELECT e.user_id, e.feature, e.period, e.window_start, e.window_end, e.amount
          FROM skene.usage_events e
        UNION ALL
        SELECT e.user_id, e.feature, w.period, w.window_start, w.window_end, w.amount
          FROM skene.usage_events e, unnest(e.more) w) AS counted
 GROUP BY user_id, feature, period, window_start;
COMMENT ON VIEW skene.usage_totals IS 'Units used, per customer, feature and window';

CREATE VIEW skene.mailbox AS
SELECT o.outbox_id, o.state, o.user_id, p.feature, p.kind,
       o.body::jsonb->'to'->>0 AS to_address,
       o.body::jsonb->>'from' AS from_address,
       o.body::jsonb->>'subject' AS subject,
       o.body::jsonb->>'text' AS text,
       o.body::jsonb->>'html' AS html,
       o.body::jsonb->'template'->>'id' AS hosted_template,
       o.created_at, o.settled_at, o.step, o.category, o.next_attempt_at AS due_at
  FROM skene.outbox o
  LEFT JOIN skene.prompts p ON p.prompt_id = o.prompt_id
 WHERE o.provider = 'resend' AND o.path = '/emails';
COMMENT ON VIEW skene.mailbox IS 'E-mails, captured or sent or on their way';

CREATE VIEW skene.outbox_stats AS
SELECT provider, state, count(*) AS messages, min(created_at) AS oldest_created_at,
       max(settled_at) AS last_settled_at,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY total_ms) AS median_ms,
       max(attempts) AS max_attempts
  FROM skene.outbox
 GROUP BY provider, state;
COMMENT ON VIEW skene.outbox_stats IS 'Messages to providers, counted by state';

CREATE VIEW skene.funnel AS
SELECT f.feature,
       coalesce(p.limit_hits, 0) AS limit_hits,
       coalesce(p.customers, 0) AS customers,
       coalesce(p.prompts, 0) AS prompts,
       coalesce(p.emails, 0) AS emails,
       coalesce(c.conversions, 0) AS conversions,
       CASE WHEN p.customers > 0 THEN
           round(100.0 * coalesce(c.conversions, 0) / p.customers, 1) END AS conversion_percent,
       c.median_time_to_convert, c.amounts
  FROM skene.features f
  LEFT JOIN (SELECT p.feature, sum(p.denials)::bigint AS limit_hits, count(*) AS prompts,
                    count(DISTINCT p.user_id) AS customers,
                    count(*) FILTER (WHERE p.state = 'sent' OR EXISTS (
                        SELECT FROM skene.outbox o
                         WHERE o.prompt_id = p.prompt_id AND o.step = 1 AND o.state = 'captured')) AS emails
               FROM skene.prompts p GROUP BY p.feature) AS p USING (feature)
  LEFT JOIN (SELECT c.feature, sum(c.conversions)::bigint AS conversions,
                    (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY d.time_to_convert)
                       FROM skene.conversions d
                      WHERE d.feature = c.feature
                        AND d.kind IN ('conversion', 'upgrade')) AS median_time_to_convert,
                    jsonb_object_agg(c.currency, c.amount) FILTER (WHERE c.currency IS NOT NULL) AS amounts
               FROM (SELECT feature, currency, count(*) AS conversions, sum(amount) AS amount
                       FROM skene.conversions
                      WHERE kind IN ('conversion', 'upgrade') AND feature IS NOT NULL
                      GROUP BY feature, currency) AS c
              GROUP BY c.feature) AS c USING (feature);
COMMENT ON VIEW skene.funnel IS
    'Per feature: limit hits, prompts, how many of them were mailed, conversions credited to a prompt, and their amounts by currency in minor units';

CREATE FUNCTION skene.worker_slots(OUT database_oid oid, OUT pid integer, OUT state text,
        OUT started_at timestamptz, OUT last_success_at timestamptz, OUT last_error text,
        OUT last_error_at timestamptz, OUT notes integer, OUT notes_lost bigint,
        OUT denials_dropped bigint)
RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'skene_worker_slots';
COMMENT ON FUNCTION skene.worker_slots() IS 'Workers as shared memory knows them';

CREATE VIEW skene.worker_status AS
SELECT d.datname AS database, s.pid, s.state, s.started_at, s.last_success_at, s.last_error,
       s.last_error_at, s.notes, s.notes_lost, s.denials_dropped
  FROM skene.worker_slots() s JOIN pg_catalog.pg_database d ON d.oid = s.database_oid
 WHERE d.datname = current_database();
COMMENT ON VIEW skene.worker_status IS
    'The worker of this database; notes are windows with denials in shared memory, denials_dropped those that prompted nobody since the server''s start because their customer did not come to be within a minute';

CREATE FUNCTION skene.delivery_slots(OUT provider text, OUT breaker text, OUT until timestamptz,
        OUT reason text, OUT failures integer, OUT in_flight integer, OUT requests bigint,
        OUT sent bigint, OUT failed bigint, OUT sent_last_minute bigint)
RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'skene_delivery_slots';
COMMENT ON FUNCTION skene.delivery_slots() IS 'Providers as this database''s worker sees them';

CREATE VIEW skene.provider_status AS
SELECT s.provider, s.breaker, s.until, s.reason, s.failures, s.in_flight, s.requests, s.sent,
       s.failed, s.sent_last_minute
  FROM skene.delivery_slots() s;
COMMENT ON VIEW skene.provider_status IS
    'Providers to which this database''s worker has sent since the server started: may they be asked, and what has become of it';

CREATE FUNCTION @extschema@.skene_status(OUT database name, OUT worker text, OUT pid integer,
        OUT delivery text, OUT fenced boolean, OUT paused text[], OUT breakers text[],
        OUT pending bigint, OUT oldest_pending_at timestamptz, OUT in_flight bigint,
        OUT sent_last_minute bigint, OUT dead bigint, OUT held bigint,
        OUT last_success_at timestamptz, OUT last_error text, OUT last_error_at timestamptz,
        OUT unmatched_subscriptions bigint, OUT unknown_prices text[], OUT denials_dropped bigint, OUT scheduled bigint)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    SELECT current_database(), coalesce(w.state, 'absent'), w.pid,
           current_setting('skene_gate.delivery'), skene.fenced(),
           ARRAY(SELECT p.provider FROM skene.pauses p ORDER BY 1),
           ARRAY(SELECT s.provider || ': ' || s.breaker
                        || CASE WHEN s.breaker = 'closed' THEN ''
                                ELSE coalesce(' until ' || to_char(s.until, 'HH24:MI:SS TZ'), '')
                                     || coalesce(' (' || s.reason || ')', '') END
                   FROM skene.delivery_slots() s ORDER BY 1),
           o.pending, o.oldest_pending_at,
           (SELECT coalesce(sum(s.in_flight), 0)::bigint FROM skene.delivery_slots() s),
           (SELECT coalesce(sum(s.sent_last_minute), 0)::bigint FROM skene.delivery_slots() s),
           (SELECT count(*) FROM skene.outbox WHERE state = 'dead'),
           (SELECT count(*) FROM skene.outbox WHERE state = 'held'),
           w.last_success_at, w.last_error, w.last_error_at,
           (SELECT count(*) FROM skene.subscriptions s WHERE s.user_id IS NULL),
           ARRAY(SELECT DISTINCT s.prices[1] FROM skene.subscriptions s
                  WHERE s.source = 'stripe' AND s.plan IS NULL AND s.prices <> '{}' ORDER BY 1),
           w.denials_dropped, o.scheduled
      FROM (SELECT count(*) FILTER (WHERE NOT p.later) AS pending,
                   min(p.created_at) FILTER (WHERE NOT p.later) AS oldest_pending_at,
                   count(*) FILTER (WHERE p.later) AS scheduled
              FROM (SELECT created_at, attempts = 0 AND next_attempt_at > skene.gate_time() AS later
                      FROM skene.outbox WHERE state IN ('pending', 'leased')) AS p) AS o
      LEFT JOIN skene.worker_status w ON true
$$;
COMMENT ON FUNCTION @extschema@.skene_status() IS
'One row: is the worker running, does anything keep mail from leaving (fence, pause, a provider''s breaker that is not closed), what waits and how fast it goes, how many messages of sequences are not due yet (scheduled), does Stripe name prices that no plan has, how many denials prompted nobody because no row knows their customer (since the server''s start). Example: SELECT * FROM skene_status()';
