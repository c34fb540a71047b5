-- outbox.sql: rows of skene.outbox before and after they are sent: enqueue, what holds them
-- back, capture, when to look again, retention. lease.sql and settle.sql are between.
--
--   pending -> leased -> sent | dead | pending (again, or alone instead of in its batch)
--   pending -> captured | cancelled | held
--
-- The worker calls these functions, in PL/pgSQL where it does so in every round: plans are
-- kept. They pass over rows that somebody has locked: one
-- customer's row, in a session left open, must not hold up everybody's mail.

CREATE FUNCTION skene.note_enqueue() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'skene_note_enqueue';
COMMENT ON FUNCTION skene.note_enqueue() IS 'Wakes the worker at commit';

CREATE TRIGGER note_enqueue AFTER INSERT ON skene.outbox
    FOR EACH ROW EXECUTE FUNCTION skene.note_enqueue();
-- also for rows that logical replication brings
ALTER TABLE skene.outbox ENABLE ALWAYS TRIGGER note_enqueue;

-- Restored from a dump or cloned? Then the rows of another database lie here too.
CREATE FUNCTION skene.fenced() RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM skene.instance i
                    WHERE i.system_identifier <> skene.system_identifier()
                       OR i.database_oid <> skene.database_oid());
END
$$;
COMMENT ON FUNCTION skene.fenced() IS
    'True in a restored or cloned database: nothing is delivered until skene_resume()';

CREATE FUNCTION skene.paused(provider text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    RETURN EXISTS (SELECT FROM skene.pauses p WHERE p.provider IN ($1, '*'));
END
$$;
COMMENT ON FUNCTION skene.paused(text) IS 'Has skene_pause() been called for this provider, or for all?';

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
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
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
                            AND o.origin_database = skene.database_oid());
END
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
