-- outbox.sql: requests to providers, from enqueue to their end. The worker calls these
-- functions; between lease_outbox and settle_outbox it holds no transaction. They pass over
-- rows that somebody has locked: one customer's row, in a session left open, must not hold up
-- everybody's mail.

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

-- A prompt whose customer has a better plan by now must not ask for the upgrade. Only of
-- this database's rows: while a dump is restored, messages may come before the plans.
CREATE FUNCTION skene.cancel_answered() RETURNS void
LANGUAGE sql SET search_path TO pg_catalog, pg_temp AS $$
    WITH answered AS (
        UPDATE skene.outbox o SET state = 'cancelled', settled_at = skene.gate_time(),
                                  last_error = 'the customer has another plan by now'
         WHERE o.outbox_id = ANY (ARRAY(
               SELECT d.outbox_id FROM skene.outbox d JOIN skene.prompts p USING (prompt_id)
                WHERE d.state = 'pending' AND d.next_attempt_at <= skene.gate_time()
                  AND d.origin_system = skene.system_identifier()
                  AND d.origin_database = skene.database_oid()
                  AND p.plan IS DISTINCT FROM (SELECT plan FROM skene.plan_of(p.user_id))
                  FOR UPDATE OF d SKIP LOCKED))
        RETURNING o.prompt_id)
    UPDATE skene.prompts p SET state = 'cancelled' FROM answered a WHERE p.prompt_id = a.prompt_id
$$;

CREATE FUNCTION skene.lease_outbox(wanted integer, lease interval)
RETURNS TABLE (outbox_id bigint, provider text, path text, content_type text, body text,
               idempotency_key text, lease_token uuid, attempts integer)
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF skene.fenced() THEN
        RETURN;
    END IF;
    -- leases of a worker that died; what it sent is unknown, so key and bytes stay
    UPDATE skene.outbox SET state = 'pending', lease_token = NULL, lease_expires_at = NULL
     WHERE outbox_id = ANY (ARRAY(
           SELECT o.outbox_id FROM skene.outbox o
            WHERE o.state = 'leased' AND o.lease_expires_at <= skene.gate_time()
              FOR UPDATE SKIP LOCKED));
    PERFORM skene.cancel_answered();
    RETURN QUERY
    UPDATE skene.outbox o
       SET state = 'leased', lease_token = gen_random_uuid(),
           lease_expires_at = skene.gate_time() + lease, attempts = o.attempts + 1,
           first_attempt_at = coalesce(o.first_attempt_at, skene.gate_time())
      FROM (SELECT d.outbox_id FROM skene.outbox d
             WHERE d.state = 'pending' AND d.next_attempt_at <= skene.gate_time()
               AND d.origin_system = skene.system_identifier()
               AND d.origin_database = skene.database_oid()
               AND NOT EXISTS (SELECT FROM skene.pauses p WHERE p.provider IN (d.provider, '*'))
             ORDER BY d.next_attempt_at LIMIT wanted FOR UPDATE SKIP LOCKED) AS due
     WHERE o.outbox_id = due.outbox_id
    RETURNING o.outbox_id, o.provider, o.path, o.content_type, o.body, o.idempotency_key,
              o.lease_token, o.attempts;
END
$$;
COMMENT ON FUNCTION skene.lease_outbox(integer, interval) IS
    'Take due rows for one attempt; a lease that is not settled in time returns to pending';

-- Settle one attempt. verdict is sent, retry, halt or dead; a stale token changes nothing.
-- Providers forget idempotency keys after 24 hours, so after 23 the row is dead: a later
-- attempt could send it twice.
CREATE FUNCTION skene.settle_outbox(settled_id bigint, token uuid, verdict text, status integer,
                                    error text, sent_id text, wait interval)
RETURNS boolean LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    final   text;
    row_of  record;
BEGIN
    SELECT prompt_id, provider, first_attempt_at INTO row_of FROM skene.outbox
     WHERE outbox_id = settled_id AND state = 'leased' AND lease_token = token FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    final := CASE WHEN verdict IN ('sent', 'dead') THEN verdict
                  WHEN skene.gate_time() + wait > row_of.first_attempt_at + interval '23 hours' THEN 'dead'
                  ELSE 'pending' END;
    UPDATE skene.outbox
       SET state = final, lease_token = NULL, lease_expires_at = NULL, last_status = status,
           last_error = CASE WHEN final = 'dead' AND verdict <> 'dead'
                             THEN concat_ws('; ', error, 'given up: no answer within 23 hours')
                             ELSE error END,
           provider_id = coalesce(sent_id, provider_id),
           next_attempt_at = CASE WHEN final = 'pending' THEN skene.gate_time() + wait
                                  ELSE next_attempt_at END,
           settled_at = CASE WHEN final <> 'pending' THEN skene.gate_time() END
     WHERE outbox_id = settled_id;
    IF final IN ('sent', 'dead') THEN
        UPDATE skene.prompts SET state = CASE final WHEN 'sent' THEN 'sent' ELSE 'failed' END,
                                 error = CASE final WHEN 'dead' THEN settle_outbox.error END
         WHERE prompt_id = row_of.prompt_id;
    END IF;
    -- a key or an account at fault concerns every row of the provider
    IF verdict = 'halt' THEN
        UPDATE skene.outbox SET next_attempt_at = skene.gate_time() + wait
         WHERE outbox_id = ANY (ARRAY(
               SELECT o.outbox_id FROM skene.outbox o
                WHERE o.state = 'pending' AND o.provider = row_of.provider
                  AND o.next_attempt_at < skene.gate_time() + wait
                  FOR UPDATE SKIP LOCKED));
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION skene.settle_outbox(bigint, uuid, text, integer, text, text, interval) IS
    'Write down how an attempt ended; false when the lease had passed to somebody else';

-- delivery = capture: mail ends here, to be read in skene.mailbox.
CREATE FUNCTION skene.capture_outbox() RETURNS bigint
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    captured bigint;
BEGIN
    IF skene.fenced() THEN
        RETURN 0;
    END IF;
    PERFORM skene.cancel_answered();
    UPDATE skene.outbox SET state = 'captured', settled_at = skene.gate_time()
     WHERE outbox_id = ANY (ARRAY(
           SELECT o.outbox_id FROM skene.outbox o
            WHERE o.state = 'pending' AND o.next_attempt_at <= skene.gate_time()
              AND o.origin_system = skene.system_identifier()
              AND o.origin_database = skene.database_oid()
              FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS captured = ROW_COUNT;
    RETURN captured;
END
$$;
COMMENT ON FUNCTION skene.capture_outbox() IS 'Keep due rows instead of sending them';

-- A row that is due and could go, but is still here, was locked by somebody; the end of a
-- lock wakes nobody.
CREATE FUNCTION skene.next_due() RETURNS timestamptz
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT least((SELECT min(next_attempt_at) FROM skene.outbox
                   WHERE state = 'pending' AND next_attempt_at > skene.gate_time()),
                 (SELECT min(lease_expires_at) FROM skene.outbox
                   WHERE state = 'leased' AND lease_expires_at > skene.gate_time()),
                 (SELECT skene.gate_time() + interval '1 second'
                   WHERE NOT skene.fenced()
                     AND EXISTS (SELECT FROM skene.outbox d
                                  WHERE d.state = 'pending' AND d.next_attempt_at <= skene.gate_time()
                                    AND d.origin_system = skene.system_identifier()
                                    AND d.origin_database = skene.database_oid()
                                    AND NOT EXISTS (SELECT FROM skene.pauses p
                                                     WHERE p.provider IN (d.provider, '*')))))
$$;
COMMENT ON FUNCTION skene.next_due() IS
    'When a row becomes due or a lease runs out, and when to look again for locked rows; null: when something is enqueued';

-- Operation ------------------------------------------------------------------

CREATE FUNCTION skene.check_provider(provider text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    IF provider IS NULL THEN
        RAISE EXCEPTION 'provider must not be null' USING ERRCODE = '22004';
    ELSIF provider NOT IN ('*', 'resend', 'stripe') THEN
        RAISE EXCEPTION 'there is no provider "%"', left(provider, 63)
            USING ERRCODE = '22023', HINT = 'Providers are: resend, stripe; * is all of them.';
    END IF;
END
$$;

CREATE FUNCTION @extschema@.skene_pause(provider text DEFAULT '*') RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    PERFORM skene.check_provider($1);
    INSERT INTO skene.pauses (provider) VALUES ($1) ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION @extschema@.skene_pause(text) IS
'Send nothing to a provider (resend, stripe), or to any, until skene_resume. Example: SELECT skene_pause(''resend'')';

CREATE FUNCTION @extschema@.skene_resume(provider text DEFAULT '*') RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    PERFORM skene.check_provider($1);
    DELETE FROM skene.pauses p WHERE $1 IN (p.provider, '*');
    IF $1 = '*' THEN
        DELETE FROM skene.instance
         WHERE (system_identifier, database_oid) <> (skene.system_identifier(), skene.database_oid());
        INSERT INTO skene.instance
        SELECT skene.system_identifier(), skene.database_oid()
         WHERE NOT EXISTS (SELECT FROM skene.instance);
    END IF;
    PERFORM skene.wake_worker('outbox');
END
$$;
COMMENT ON FUNCTION @extschema@.skene_resume(text) IS
'End skene_pause; without a provider also declare this restored or cloned database the one that sends. Rows that another database enqueued stay unsent until skene_retry. Example: SELECT skene_resume()';

CREATE FUNCTION @extschema@.skene_retry(id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    UPDATE skene.outbox
       SET state = 'pending', next_attempt_at = skene.gate_time(), first_attempt_at = NULL,
           settled_at = NULL,
           origin_system = skene.system_identifier(), origin_database = skene.database_oid()
     WHERE outbox_id = id AND state IN ('pending', 'dead', 'held', 'captured', 'cancelled');
    IF FOUND THEN
        PERFORM skene.wake_worker('outbox');
    END IF;
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION @extschema@.skene_retry(bigint) IS
'Send a row of skene.outbox now, with its old key and bytes, whatever became of it; false if it is under way, sent or unknown. Example: SELECT skene_retry(17)';

CREATE FUNCTION @extschema@.skene_cancel(id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    prompt bigint;
BEGIN
    UPDATE skene.outbox SET state = 'cancelled', settled_at = skene.gate_time()
     WHERE outbox_id = id AND state IN ('pending', 'held', 'dead')
    RETURNING prompt_id INTO prompt;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE skene.prompts SET state = 'cancelled' WHERE prompt_id = prompt;
    RETURN true;
END
$$;
COMMENT ON FUNCTION @extschema@.skene_cancel(bigint) IS
'Never send a row of skene.outbox; false if it is under way, ended or unknown. Example: SELECT skene_cancel(17)';
