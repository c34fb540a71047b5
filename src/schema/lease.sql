-- lease.sql: rows of skene.outbox become requests of a provider: taken under a lease that is
-- committed before any of them is sent, and taken back when it runs out.
--
-- A row whose attempt may have been accepted has unknown_since. Its key and bytes never
-- change, and 23 hours later it is dead: providers forget keys after 24, and then the same
-- request would be a second one.

-- Rows that may be sent now, by this database: while a dump is restored, messages may come
-- before the plans that tell whether they are still wanted.
CREATE VIEW skene.sendable AS
SELECT o.outbox_id, o.provider, o.batch_id, o.attempts, o.next_attempt_at
  FROM skene.outbox o
 WHERE o.state = 'pending' AND o.next_attempt_at <= (SELECT skene.gate_time())
   AND (o.unknown_since IS NULL
        OR o.unknown_since > (SELECT skene.gate_time()) - interval '23 hours')
   AND o.origin_system = skene.system_identifier() AND o.origin_database = skene.database_oid();
COMMENT ON VIEW skene.sendable IS
    'Rows of skene.outbox that are due and may be sent by this database';

CREATE FUNCTION skene.fits_batch(body text) RETURNS boolean
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'skene_fits_batch';
COMMENT ON FUNCTION skene.fits_batch(text) IS
    'May this body of POST /emails stand in a batch: an object, without attachments?';

-- Leases of a worker that died; what it sent is unknown, so key and bytes stay.
CREATE FUNCTION skene.recover_leases() RETURNS void
LANGUAGE sql SET search_path TO pg_catalog, pg_temp AS $$
    UPDATE skene.outbox SET state = 'pending', lease_token = NULL, lease_expires_at = NULL,
                            unknown_since = coalesce(unknown_since, last_attempt_at),
                            last_error = 'the worker ended before the answer came'
     WHERE outbox_id = ANY (ARRAY(
           SELECT o.outbox_id FROM skene.outbox o
            WHERE o.state = 'leased' AND o.lease_expires_at <= (SELECT skene.gate_time())
              AND o.origin_system = skene.system_identifier()
              AND o.origin_database = skene.database_oid()
              FOR UPDATE SKIP LOCKED))
$$;
COMMENT ON FUNCTION skene.recover_leases() IS 'Leases that have run out return to pending';

-- Rows that nobody got to in time: the server was down, the provider paused or halted.
CREATE FUNCTION skene.bury_forgotten() RETURNS void
LANGUAGE sql SET search_path TO pg_catalog, pg_temp AS $$
    WITH forgotten AS (
        SELECT o.outbox_id, CASE o.step WHEN 1 THEN o.prompt_id END AS prompt_id FROM skene.outbox o
         WHERE o.state = 'pending' AND o.unknown_since <= (SELECT skene.gate_time()) - interval '23 hours'
           FOR UPDATE SKIP LOCKED),
    dead AS (
        UPDATE skene.outbox o
           SET state = 'dead', settled_at = skene.gate_time(), batch_id = NULL,
               last_error = concat_ws('; ', o.last_error, 'given up: for 23 hours nobody knows whether it was accepted')
          FROM forgotten f WHERE o.outbox_id = f.outbox_id
        RETURNING f.prompt_id, o.last_error)
    UPDATE skene.prompts p SET state = 'failed', error = d.last_error
      FROM dead d WHERE p.prompt_id = d.prompt_id
$$;
COMMENT ON FUNCTION skene.bury_forgotten() IS
    'Gives up rows whose key the provider is about to forget, without knowing whether they were accepted';

CREATE FUNCTION skene.tend_outbox() RETURNS void
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    IF NOT skene.fenced() THEN
        LOCK TABLE skene.prompts IN ROW EXCLUSIVE MODE; -- before any row, as skene_reset() does
        PERFORM skene.recover_leases();
        PERFORM skene.bury_forgotten();
    END IF;
END
$$;
COMMENT ON FUNCTION skene.tend_outbox() IS
    'Take up leases that have run out, and give up rows that must not be sent any more; the worker does it now and then';

CREATE FUNCTION skene.take_due(to_provider text, wanted integer, probe boolean) RETURNS bigint[]
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    due       bigint[];
    answered  bigint[] := '{}';
    left_out  bigint[] := '{}';
BEGIN
    LOOP
        IF probe THEN
            -- not always the same: it may be the row that is at fault
            due := ARRAY(
                SELECT s.outbox_id FROM skene.sendable s
                 WHERE s.provider = to_provider AND s.batch_id IS NULL AND s.outbox_id <> ALL (left_out)
                 ORDER BY s.attempts, s.next_attempt_at LIMIT wanted FOR UPDATE SKIP LOCKED);
        ELSE
            due := ARRAY(
                SELECT s.outbox_id FROM skene.sendable s
                 WHERE s.provider = to_provider AND s.batch_id IS NULL AND s.outbox_id <> ALL (left_out)
                 ORDER BY s.next_attempt_at LIMIT wanted FOR UPDATE SKIP LOCKED);
        END IF;
        -- looked at after the rows were: none that came after a pause is sent
        IF skene.paused(to_provider) THEN
            RETURN '{}';
        END IF;
        answered := skene.cancel_answered(due);
        EXIT WHEN answered = '{}' OR cardinality(answered) < cardinality(due);
        left_out := left_out || answered;
    END LOOP;
    RETURN ARRAY(SELECT d.id FROM unnest(due) WITH ORDINALITY AS d (id, place)
                  WHERE d.id <> ALL (answered) ORDER BY d.place);
END
$$;
COMMENT ON FUNCTION skene.take_due(text, integer, boolean) IS
    'Locks rows that are due, the first come first; for a probe the one tried least often';

-- One request for several messages: which ones, in what order and under which key never
-- changes again. Null when the first of them cannot stand in a batch, or no other can. A
-- message that may have been accepted under its own key is not sent under another one.
CREATE FUNCTION skene.freeze_batch(ids bigint[]) RETURNS bigint
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    members    bigint[];
    new_batch  bigint;
BEGIN
    SELECT array_agg(m.outbox_id ORDER BY m.place) INTO members
      FROM (SELECT o.outbox_id, c.place, sum(octet_length(o.body)) OVER (ORDER BY c.place) AS size
              FROM unnest(ids) WITH ORDINALITY AS c (id, place)
              JOIN skene.outbox o ON o.outbox_id = c.id
             WHERE o.path = '/emails' AND o.content_type = 'application/json'
               AND NOT o.alone AND o.unknown_since IS NULL AND skene.fits_batch(o.body)) AS m
     WHERE m.size <= 8 * 1024 * 1024;
    IF members IS NULL OR cardinality(members) < 2 OR members[1] <> ids[1] THEN
        RETURN NULL;
    END IF;
    INSERT INTO skene.batches (idempotency_key, messages, body)
    SELECT 'skene-batch-' || gen_random_uuid(), cardinality(members),
           '[' || string_agg(o.body, ',' ORDER BY m.place) || ']'
      FROM unnest(members) WITH ORDINALITY AS m (id, place)
      JOIN skene.outbox o ON o.outbox_id = m.id
    RETURNING batch_id INTO new_batch;
    UPDATE skene.outbox o SET batch_id = new_batch, batch_place = m.place
      FROM unnest(members) WITH ORDINALITY AS m (id, place) WHERE o.outbox_id = m.id;
    RETURN new_batch;
END
$$;
COMMENT ON FUNCTION skene.freeze_batch(bigint[]) IS 'Puts messages into a new batch';

CREATE TYPE skene.outbox_request AS (
    outbox_ids       bigint[],
    lease_token      uuid,
    attempts         integer,
    batch            boolean,
    path             text,
    content_type     text,
    body             text,
    idempotency_key  text
);
COMMENT ON TYPE skene.outbox_request IS
    'One request under one lease: a message, or a batch of them in their order (null where one is gone)';

CREATE FUNCTION skene.lease_alone(ids bigint[], lease interval) RETURNS SETOF skene.outbox_request
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY
    WITH leased AS (
        UPDATE skene.outbox o
           SET state = 'leased', lease_token = gen_random_uuid(), attempts = o.attempts + 1,
               lease_expires_at = skene.gate_time() + lease, last_attempt_at = skene.gate_time(),
               first_attempt_at = coalesce(o.first_attempt_at, skene.gate_time())
          FROM unnest(ids) WITH ORDINALITY AS m (id, place) WHERE o.outbox_id = m.id
        RETURNING m.place, o.outbox_id, o.lease_token, o.attempts, o.path, o.content_type, o.body,
                  o.idempotency_key)
    SELECT ARRAY[l.outbox_id], l.lease_token, l.attempts, false, l.path, l.content_type, l.body,
           l.idempotency_key
      FROM leased l ORDER BY l.place;
END
$$;
COMMENT ON FUNCTION skene.lease_alone(bigint[], interval) IS
    'Leases locked messages, each as a request of its own, in this order';

CREATE FUNCTION skene.lease_batch(id bigint, lease interval) RETURNS SETOF skene.outbox_request
LANGUAGE sql SET search_path TO pg_catalog, pg_temp AS $$
    WITH mark AS MATERIALIZED (SELECT gen_random_uuid() AS token),
    leased AS (
        UPDATE skene.outbox o
           SET state = 'leased', lease_token = m.token, attempts = o.attempts + 1,
               lease_expires_at = skene.gate_time() + lease, last_attempt_at = skene.gate_time(),
               first_attempt_at = coalesce(o.first_attempt_at, skene.gate_time())
          FROM mark m WHERE o.batch_id = id AND o.state = 'pending'
        RETURNING o.outbox_id, o.batch_place, o.attempts)
    SELECT (SELECT array_agg(l.outbox_id ORDER BY place)
              FROM generate_series(1, b.messages) AS place LEFT JOIN leased l ON l.batch_place = place),
           m.token, (SELECT max(l.attempts) FROM leased l), true, '/emails/batch',
           'application/json', b.body, b.idempotency_key
      FROM skene.batches b, mark m WHERE b.batch_id = id
$$;

-- Batches of an earlier time: same messages, same bytes, same key.
CREATE FUNCTION skene.lease_batches(to_provider text, wanted integer, lease interval)
RETURNS SETOF skene.outbox_request
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    due    bigint;
    free   bigint[];
    taken  integer := 0;
BEGIN
    FOR due IN
        -- by the index of what is in a batch, however much is due beside it
        WITH batched AS MATERIALIZED (
            SELECT DISTINCT o.batch_id FROM skene.outbox o WHERE o.batch_id IS NOT NULL)
        SELECT b.batch_id FROM batched b
         WHERE EXISTS (SELECT FROM skene.sendable s
                        WHERE s.batch_id = b.batch_id AND s.provider = to_provider)
         ORDER BY 1
    LOOP
        EXIT WHEN taken = wanted;
        IF NOT EXISTS (SELECT FROM skene.batches b WHERE b.batch_id = due) THEN
            -- somebody has deleted it; what it may have delivered is left to its end
            UPDATE skene.outbox SET batch_id = NULL
             WHERE outbox_id = ANY (ARRAY(
                   SELECT o.outbox_id FROM skene.outbox o
                    WHERE o.batch_id = due AND o.state = 'pending' AND o.unknown_since IS NULL
                      FOR UPDATE SKIP LOCKED));
            CONTINUE;
        END IF;
        -- all of its messages, or it waits
        free := ARRAY(SELECT o.outbox_id FROM skene.outbox o WHERE o.batch_id = due FOR UPDATE SKIP LOCKED);
        CONTINUE WHEN cardinality(free) < (SELECT count(*) FROM skene.outbox o WHERE o.batch_id = due);
        EXIT WHEN skene.paused(to_provider);
        RETURN QUERY SELECT * FROM skene.lease_batch(due, lease);
        taken := taken + 1;
    END LOOP;
END
$$;

CREATE FUNCTION skene.lease_messages(to_provider text, wanted integer, batch_size integer,
                                     probe boolean, lease interval)
RETURNS SETOF skene.outbox_request
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    ids    bigint[];
    batch  bigint;
BEGIN
    -- one more than may be asked for: a backlog
    IF batch_size > 1 AND NOT probe
       AND (SELECT count(*) FROM (SELECT FROM skene.outbox o
                                   WHERE o.provider = to_provider AND o.state = 'pending'
                                     AND o.batch_id IS NULL AND o.next_attempt_at <= (SELECT skene.gate_time())
                                   LIMIT wanted + 1) AS due) > wanted THEN
        FOR i IN 1 .. wanted LOOP
            ids := skene.take_due(to_provider, batch_size, false);
            EXIT WHEN ids = '{}';
            batch := skene.freeze_batch(ids);
            IF batch IS NULL THEN
                RETURN QUERY SELECT * FROM skene.lease_alone(ids[:1], lease);
            ELSE
                RETURN QUERY SELECT * FROM skene.lease_batch(batch, lease);
            END IF;
        END LOOP;
    ELSE
        RETURN QUERY SELECT * FROM skene.lease_alone(skene.take_due(to_provider, wanted, probe), lease);
    END IF;
END
$$;

CREATE FUNCTION skene.lease_outbox(to_provider text, wanted integer, batch_size integer,
                                   probe boolean, lease interval)
RETURNS SETOF skene.outbox_request
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    taken  integer := 0;
BEGIN
    IF skene.fenced() OR skene.paused(to_provider) THEN
        RETURN;
    END IF;
    -- before any row, as skene_reset() does
    LOCK TABLE skene.prompts IN ROW EXCLUSIVE MODE;
    IF NOT probe THEN
        RETURN QUERY SELECT * FROM skene.lease_batches(to_provider, wanted, lease);
        GET DIAGNOSTICS taken = ROW_COUNT;
    END IF;
    IF taken < wanted THEN
        RETURN QUERY SELECT * FROM skene.lease_messages(to_provider, wanted - taken, batch_size, probe, lease);
        IF probe AND NOT FOUND THEN
            RETURN QUERY SELECT * FROM skene.lease_batches(to_provider, wanted, lease);
        END IF;
    END IF;
END
$$;
COMMENT ON FUNCTION skene.lease_outbox(text, integer, integer, boolean, interval) IS
    'Take due rows of a provider for one attempt each, as at most so many requests; a lease that is not settled in time returns to pending';
