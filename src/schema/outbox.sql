-- outbox.sql: requests to providers, from enqueue to their end. The worker calls these
-- functions; between lease_outbox and settle_outbox it holds no transaction. They pass over
-- rows that somebody has locked: one customer's row, in a session left open, must not hold up
-- everybody's mail.
--
--   pending -> leased -> sent | dead | pending (again, or alone instead of in its batch)
--
-- A row whose attempt may have been accepted has unknown_since. Its key and bytes never
-- change, and 23 hours later it is dead: providers forget keys after 24, and then the same
-- request would be a second one.

CREATE FUNCTION skene.note_enqueue() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'skene_note_enqueue';
COMMENT ON FUNCTION skene.note_enqueue() IS 'Wakes the worker at commit';

CREATE TRIGGER note_enqueue AFTER INSERT ON skene.outbox
    FOR EACH ROW EXECUTE FUNCTION skene.note_enqueue();
-- also for rows that logical replication brings
ALTER TABLE skene.outbox ENABLE ALWAYS TRIGGER note_enqueue;

-- Restored from a dump or cloned? Then the rows of another database lie here too.
CREATE FUNCTION skene.fenced() RETURNS boolean
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM skene.instance i
                    WHERE i.system_identifier <> skene.system_identifier()
                       OR i.database_oid <> skene.database_oid())
$$;
COMMENT ON FUNCTION skene.fenced() IS
    'True in a restored or cloned database: nothing is delivered until skene_resume()';

CREATE FUNCTION skene.paused(provider text) RETURNS boolean
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM skene.pauses p WHERE p.provider IN ($1, '*'))
$$;
COMMENT ON FUNCTION skene.paused(text) IS 'Has skene_pause() been called for this provider, or for all?';

CREATE FUNCTION skene.fits_batch(body text) RETURNS boolean
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'skene_fits_batch';
COMMENT ON FUNCTION skene.fits_batch(text) IS
    'May this body of POST /emails stand in a batch: an object, without attachments?';

-- Lease ----------------------------------------------------------------------

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

-- Only of this database's rows: while a dump is restored, messages may come before the plans.
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
                SELECT d.outbox_id FROM skene.outbox d
                 WHERE d.provider = to_provider AND d.state = 'pending' AND d.batch_id IS NULL
                   AND d.next_attempt_at <= (SELECT skene.gate_time())
                   AND (d.unknown_since IS NULL
                        OR d.unknown_since > (SELECT skene.gate_time()) - interval '23 hours')
                   AND d.origin_system = skene.system_identifier()
                   AND d.origin_database = skene.database_oid() AND d.outbox_id <> ALL (left_out)
                 ORDER BY d.attempts, d.next_attempt_at LIMIT wanted FOR UPDATE SKIP LOCKED);
        ELSE
            due := ARRAY(
                SELECT d.outbox_id FROM skene.outbox d
                 WHERE d.provider = to_provider AND d.state = 'pending' AND d.batch_id IS NULL
                   AND d.next_attempt_at <= (SELECT skene.gate_time())
                   AND (d.unknown_since IS NULL
                        OR d.unknown_since > (SELECT skene.gate_time()) - interval '23 hours')
                   AND d.origin_system = skene.system_identifier()
                   AND d.origin_database = skene.database_oid() AND d.outbox_id <> ALL (left_out)
                 ORDER BY d.next_attempt_at LIMIT wanted FOR UPDATE SKIP LOCKED);
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

CREATE FUNCTION skene.lease_message(id bigint, lease interval) RETURNS SETOF skene.outbox_request
LANGUAGE sql SET search_path TO pg_catalog, pg_temp AS $$
    UPDATE skene.outbox o
       SET state = 'leased', lease_token = gen_random_uuid(), attempts = o.attempts + 1,
           lease_expires_at = skene.gate_time() + lease, last_attempt_at = skene.gate_time(),
           first_attempt_at = coalesce(o.first_attempt_at, skene.gate_time())
     WHERE o.outbox_id = id
    RETURNING ARRAY[o.outbox_id], o.lease_token, o.attempts, false, o.path, o.content_type, o.body,
              o.idempotency_key
$$;

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
        SELECT DISTINCT o.batch_id FROM skene.outbox o
         WHERE o.batch_id IS NOT NULL AND o.state = 'pending' AND o.provider = to_provider
           AND o.next_attempt_at <= (SELECT skene.gate_time())
           AND (o.unknown_since IS NULL
                OR o.unknown_since > (SELECT skene.gate_time()) - interval '23 hours')
           AND o.origin_system = skene.system_identifier()
           AND o.origin_database = skene.database_oid()
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
                RETURN QUERY SELECT * FROM skene.lease_message(ids[1], lease);
            ELSE
                RETURN QUERY SELECT * FROM skene.lease_batch(batch, lease);
            END IF;
        END LOOP;
    ELSE
        RETURN QUERY SELECT r.* FROM unnest(skene.take_due(to_provider, wanted, probe)) AS id,
                                     skene.lease_message(id, lease) AS r;
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

-- Settle ---------------------------------------------------------------------

-- Write down how attempts ended: an array of objects with id, token, verdict (sent, retry,
-- wait, halt, bury, alone: not in this batch, or split: the batch as such was refused), wait
-- (seconds), uncertain, status, error, sent_id and the times since the attempt began. After a
-- split each goes under its own key, unless an earlier attempt of the batch may have been
-- accepted. A stale token changes nothing. Returns rows that died of it, and rows that somebody
-- has locked, to be settled later.
CREATE FUNCTION skene.settle_outbox(outcomes jsonb)
RETURNS TABLE (outbox_id bigint, became text)
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    ids        bigint[] := ARRAY(SELECT (s->>'id')::bigint FROM jsonb_array_elements(outcomes) s);
    mine       bigint[];  -- still under the lease they were sent under, and not locked
    prompts    bigint[];
    free       bigint[];  -- of them, those whose prompt is not locked either
    batches    bigint[];
BEGIN
    -- before any row, as skene_reset() does
    LOCK TABLE skene.prompts IN ROW EXCLUSIVE MODE;
    mine := ARRAY(
        SELECT o.outbox_id FROM skene.outbox o
          JOIN jsonb_to_recordset(outcomes) AS s (id bigint, token uuid) ON s.id = o.outbox_id
         WHERE o.outbox_id = ANY (ids) AND o.state = 'leased' AND o.lease_token = s.token
         ORDER BY o.outbox_id FOR UPDATE OF o SKIP LOCKED);
    prompts := ARRAY(
        SELECT o.prompt_id FROM skene.outbox o
         WHERE o.outbox_id = ANY (mine) AND o.prompt_id IS NOT NULL);
    free := mine;
    IF prompts <> '{}' THEN
        prompts := ARRAY(
            SELECT p.prompt_id FROM skene.prompts p WHERE p.prompt_id = ANY (prompts)
               FOR UPDATE SKIP LOCKED);
        free := ARRAY(
            SELECT o.outbox_id FROM skene.outbox o
             WHERE o.outbox_id = ANY (mine)
               AND (o.prompt_id IS NULL OR o.prompt_id = ANY (prompts)
                    OR NOT EXISTS (SELECT FROM skene.prompts p WHERE p.prompt_id = o.prompt_id)));
    END IF;

    batches := ARRAY(
        SELECT DISTINCT o.batch_id FROM skene.outbox o
         WHERE o.outbox_id = ANY (free) AND o.batch_id IS NOT NULL);

    RETURN QUERY
    WITH fate AS (
        SELECT s.id, s.wait, s.status, s.error, s.sent_id, s.dns_ms, s.connect_ms, s.tls_ms,
               s.first_byte_ms, s.total_ms, o.first_attempt_at,
               CASE WHEN s.verdict <> 'split' THEN s.verdict
                    WHEN o.unknown_since IS NULL THEN 'alone' ELSE 'bury' END AS verdict,
               CASE WHEN s.uncertain THEN coalesce(o.unknown_since, o.last_attempt_at)
                    ELSE o.unknown_since END AS unknown_since,
               skene.gate_time()
               + CASE s.verdict WHEN 'retry' THEN s.wait ELSE 0 END * interval '1 second' AS again_at
          FROM jsonb_to_recordset(outcomes)
            AS s (id bigint, verdict text, wait bigint, uncertain boolean, status integer,
                  error text, sent_id text, dns_ms real, connect_ms real, tls_ms real,
                  first_byte_ms real, total_ms real)
          JOIN skene.outbox o ON o.outbox_id = s.id
         WHERE o.outbox_id = ANY (free)),
    ended AS (
        SELECT f.id, CASE WHEN f.verdict IN ('sent', 'bury') THEN f.verdict
                          WHEN f.again_at > f.unknown_since + interval '23 hours' THEN 'forgotten'
                          WHEN f.verdict = 'retry' AND f.unknown_since IS NULL
                               AND f.again_at > f.first_attempt_at + interval '3 days' THEN 'hopeless'
                     END AS how
          FROM fate f),
    settled AS (
        UPDATE skene.outbox o
           SET state = CASE WHEN e.how IS NULL THEN 'pending' WHEN e.how = 'sent' THEN 'sent' ELSE 'dead' END,
               settled_at = CASE WHEN e.how IS NOT NULL THEN skene.gate_time() END,
               lease_token = NULL, lease_expires_at = NULL,
               last_status = nullif(f.status, 0),
               last_error = nullif(concat_ws('; ', nullif(f.error, ''), CASE e.how
                   WHEN 'forgotten' THEN 'given up: for 23 hours nobody knows whether it was accepted'
                   WHEN 'hopeless' THEN 'given up: not accepted for 3 days' END), ''),
               provider_id = coalesce(nullif(f.sent_id, ''), o.provider_id),
               unknown_since = CASE WHEN f.verdict NOT IN ('sent', 'alone') THEN f.unknown_since END,
               next_attempt_at = CASE WHEN e.how IS NULL THEN f.again_at ELSE o.next_attempt_at END,
               batch_id = CASE WHEN e.how IS NULL AND f.verdict <> 'alone' THEN o.batch_id END,
               alone = o.alone OR f.verdict = 'alone',
               dns_ms = nullif(f.dns_ms, 0), connect_ms = nullif(f.connect_ms, 0),
               tls_ms = nullif(f.tls_ms, 0), first_byte_ms = nullif(f.first_byte_ms, 0),
               total_ms = nullif(f.total_ms, 0)
          FROM fate f JOIN ended e ON e.id = f.id
         WHERE o.outbox_id = f.id AND o.outbox_id = ANY (free)
        RETURNING o.outbox_id, o.prompt_id, o.step, o.state, o.last_error),
    prompted AS (
        UPDATE skene.prompts p
           SET state = CASE s.state WHEN 'sent' THEN 'sent' ELSE 'failed' END,
               error = CASE s.state WHEN 'dead' THEN s.last_error END
          FROM settled s
         WHERE p.prompt_id = s.prompt_id AND p.prompt_id = ANY (prompts)
           AND s.step = 1 AND s.state IN ('sent', 'dead'))
    SELECT s.outbox_id, 'dead' FROM settled s WHERE s.state = 'dead'
    UNION ALL
    SELECT o.outbox_id, 'locked' FROM skene.outbox o
      JOIN jsonb_to_recordset(outcomes) AS s (id bigint, token uuid) ON s.id = o.outbox_id
     WHERE o.outbox_id = ANY (ids) AND o.outbox_id <> ALL (free)
       AND o.state = 'leased' AND o.lease_token = s.token;

    DELETE FROM skene.batches b
     WHERE b.batch_id = ANY (batches)
       AND NOT EXISTS (SELECT FROM skene.outbox o WHERE o.batch_id = b.batch_id);
END
$$;
COMMENT ON FUNCTION skene.settle_outbox(jsonb) IS
    'Write down how attempts ended; returns rows that are dead now, and locked ones, to be settled later';

-- delivery = capture: mail ends here, to be read in skene.mailbox.
CREATE FUNCTION skene.capture_outbox() RETURNS bigint
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    due       bigint[];
    captured  bigint;
BEGIN
    IF skene.fenced() THEN
        RETURN 0;
    END IF;
    LOCK TABLE skene.prompts IN ROW EXCLUSIVE MODE; -- before any row, as skene_reset() does
    due := ARRAY(SELECT o.outbox_id FROM skene.outbox o
                  WHERE o.state = 'pending' AND o.next_attempt_at <= (SELECT skene.gate_time())
                    AND o.origin_system = skene.system_identifier()
                    AND o.origin_database = skene.database_oid()
                    FOR UPDATE SKIP LOCKED);
    UPDATE skene.outbox SET state = 'captured', settled_at = skene.gate_time(), batch_id = NULL
     WHERE outbox_id = ANY (due) AND outbox_id <> ALL (skene.cancel_answered(due));
    GET DIAGNOSTICS captured = ROW_COUNT;
    RETURN captured;
END
$$;
COMMENT ON FUNCTION skene.capture_outbox() IS 'Keep due rows instead of sending them';

-- A row that is due and could go, but is still here, was locked by somebody, or there was no
-- room for it; the end of a lock wakes nobody.
CREATE FUNCTION skene.next_due()
RETURNS TABLE (provider text, waiting boolean, next_attempt_at timestamptz)
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT p.name, NOT skene.fenced() AND NOT skene.paused(p.name)
           AND EXISTS (SELECT FROM skene.outbox d
                        WHERE d.provider = p.name AND d.state = 'pending'
                          AND d.next_attempt_at <= (SELECT skene.gate_time())
                          AND d.origin_system = skene.system_identifier()
                          AND d.origin_database = skene.database_oid()),
           (SELECT min(d.next_attempt_at) FROM skene.outbox d
             WHERE d.provider = p.name AND d.state = 'pending'
               AND d.next_attempt_at > (SELECT skene.gate_time()))
      FROM (VALUES ('resend'), ('stripe')) AS p (name)
    UNION ALL
    SELECT NULL, false, (SELECT min(o.lease_expires_at) FROM skene.outbox o
                          WHERE o.state = 'leased' AND NOT skene.fenced()
                            AND o.origin_system = skene.system_identifier()
                            AND o.origin_database = skene.database_oid())
$$;
COMMENT ON FUNCTION skene.next_due() IS
    'Per provider: are rows due, and when does the next one become due; and without a provider, when a lease runs out';

-- Retention --------------------------------------------------------------------

CREATE FUNCTION skene.purge_outbox(wanted integer) RETURNS bigint
LANGUAGE sql SET search_path TO pg_catalog, pg_temp AS $$
    -- of this database: while a dump is restored, batches may come before their messages
    DELETE FROM skene.batches b
     WHERE b.origin_system = skene.system_identifier() AND b.origin_database = skene.database_oid()
       AND NOT EXISTS (SELECT FROM skene.outbox o WHERE o.batch_id = b.batch_id);
    WITH gone AS (
        DELETE FROM skene.outbox
         WHERE outbox_id = ANY (ARRAY(
               SELECT o.outbox_id FROM skene.outbox o
                WHERE o.settled_at < (SELECT skene.gate_time())
                                     - current_setting('skene_gate.outbox_retention')::interval
                ORDER BY o.settled_at LIMIT wanted FOR UPDATE SKIP LOCKED))
        RETURNING 1)
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION skene.purge_outbox(integer) IS
    'Remove so many rows that ended skene_gate.outbox_retention ago; returns how many it found';
