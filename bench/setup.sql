-- The database of the bench: what is compared, and where samples go. Run by bench/run
-- with :customers, how many have an id that is a number, and :module, constant.c built.
\set ON_ERROR_STOP on
CREATE EXTENSION skene_gate;
CREATE ROLE app LOGIN;
SELECT skene_grant_role('app', 'app') \g /dev/null
SELECT * FROM skene_apply('{ "features": {
    "export": { "limit": { "free": 1000000000000, "paid": null }, "period": "30d" },
    "trial":  { "limit": { "free": 1, "paid": null },             "period": "30d" },
    "seat":   { "limit": { "free": 16, "paid": null },            "period": "lifetime" },
    "burst":  { "limit": { "free": 10000, "paid": null },         "period": "30d" } } }') \g /dev/null

INSERT INTO skene.customers (user_id, anchor)
SELECT g::text, now() FROM generate_series(1, :customers) g
UNION ALL
SELECT u, now() FROM unnest('{hot,near,full,burst}'::text[]) u;

-- Warm: every customer has used something.
SELECT count(skene_consume(user_id, 'export')) FROM skene.customers \g /dev/null
SELECT skene_consume('full', 'trial') \g /dev/null

-- By hand, as good as it gets: a limit that needs no looking up, rows that fit their page
-- when they change, and no index that would keep updates from staying there.
CREATE SCHEMA app AUTHORIZATION app;
SET ROLE app;
CREATE TABLE app.counters (user_id text PRIMARY KEY, used bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO app.counters SELECT g::text, 0 FROM generate_series(1, :customers) g;
CREATE TABLE app.usage (user_id text, feature text, month timestamptz, used bigint NOT NULL,
                        PRIMARY KEY (user_id, feature, month)) WITH (fillfactor = 50);
INSERT INTO app.usage
SELECT g::text, 'export', date_trunc('month', now()), 0 FROM generate_series(1, :customers) g;
CREATE FUNCTION app.consume(p_user_id text, p_feature text, p_limit bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.usage AS u VALUES (p_user_id, p_feature, date_trunc('month', now()), 1)
    ON CONFLICT (user_id, feature, month) DO UPDATE SET used = u.used + 1 WHERE u.used < p_limit;
    RETURN FOUND;
END
$$;
CREATE TABLE app.events (user_id text NOT NULL, feature text NOT NULL, amount bigint NOT NULL DEFAULT 1,
                         created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON app.events (user_id, feature);
CREATE TABLE app.runs (user_id text NOT NULL, run_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON app.runs (user_id, run_at);
CREATE TABLE app.bursts (client int NOT NULL);
RESET ROLE;

-- Who enqueues a message of its own.
GRANT USAGE ON SCHEMA skene TO app;
GRANT INSERT ON skene.outbox TO app;
GRANT EXECUTE ON FUNCTION skene.gate_time(), skene.system_identifier(), skene.database_oid() TO app;

CREATE SCHEMA bench;
GRANT USAGE ON SCHEMA bench TO app;
CREATE SEQUENCE bench.wires;
GRANT USAGE ON SEQUENCE bench.wires TO app;
CREATE TABLE bench.requests (at_us bigint, idempotency_key text);
CREATE VIEW bench.on_the_wire AS
SELECT r.at_us / 1000.0 - extract(epoch FROM p.first_denied_at) * 1000 AS ms
  FROM bench.requests r JOIN skene.outbox o USING (idempotency_key) JOIN skene.prompts p USING (prompt_id);
CREATE SEQUENCE bench.everybody;
GRANT USAGE ON SEQUENCE bench.everybody TO app;
-- Customers who used something before the server started.
CREATE PROCEDURE bench.grow(customers bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR batch IN 0 .. (customers - 1) / 500000 LOOP
        INSERT INTO skene.customers (user_id, anchor)
        SELECT g::text, now()
          FROM generate_series(batch * 500000 + 1, least((batch + 1) * 500000, customers)) g
        ON CONFLICT DO NOTHING;
        INSERT INTO skene.usage
        SELECT c.user_id, 'export', '30d', c.anchor, c.anchor + interval '30 days', 1
          FROM skene.customers c WHERE c.anchor = now()
        ON CONFLICT DO NOTHING;
        INSERT INTO app.counters
        SELECT g::text, 0
          FROM generate_series(batch * 500000 + 1, least((batch + 1) * 500000, customers)) g
        ON CONFLICT DO NOTHING;
        COMMIT;
    END LOOP;
END
$$;
CREATE FUNCTION bench.constant_decision(user_id text, feature text, amount bigint DEFAULT 1)
RETURNS skene_decision LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000
AS :'module', 'constant_decision';
-- Granted as the functions above it are: what the server checks is a part of the floor.
REVOKE ALL ON FUNCTION bench.constant_decision FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bench.constant_decision TO app;

-- One row for each measured figure: of a part of the bench, a subject (mostly a case) in a
-- variant (clients, customers, a slice of time), in a round.
CREATE TABLE bench.cases (position int GENERATED ALWAYS AS IDENTITY, name text PRIMARY KEY, title text NOT NULL);
CREATE TABLE bench.samples (part text, subject text, variant bigint, round int, measure text, value numeric);
CREATE TABLE bench.facts (name text PRIMARY KEY, value text);
CREATE FUNCTION bench.median(part text, subject text, variant bigint, measure text) RETURNS numeric
LANGUAGE sql STABLE AS $$
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY s.value)::numeric FROM bench.samples s
     WHERE (s.part, s.subject, s.variant, s.measure) = ($1, $2, $3, $4)
$$;
VACUUM ANALYZE;
