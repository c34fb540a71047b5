-- operation.sql: what an operator does about delivery: pause, resume, retry, cancel.

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
        UPDATE skene.outbox o
           SET state = 'held', lease_token = NULL, lease_expires_at = NULL, batch_id = NULL,
               last_error = concat_ws('; ', o.last_error,
                   'another database has enqueued it and may have sent it; skene_retry sends it from here')
         WHERE o.state IN ('pending', 'leased')
           AND (o.origin_system, o.origin_database)
               <> (skene.system_identifier(), skene.database_oid());
        DELETE FROM skene.batches b
         WHERE NOT EXISTS (SELECT FROM skene.outbox o WHERE o.batch_id = b.batch_id);
        DELETE FROM skene.instance
         WHERE (system_identifier, database_oid) <> (skene.system_identifier(), skene.database_oid());
        INSERT INTO skene.instance
        SELECT skene.system_identifier(), skene.database_oid()
         WHERE NOT EXISTS (SELECT FROM skene.instance);
    END IF;
    PERFORM skene.wake_worker('probe');
END
$$;
COMMENT ON FUNCTION @extschema@.skene_resume(text) IS
'End skene_pause; without a provider also declare this restored or cloned database the one that sends. Rows that another database enqueued are held until skene_retry. Example: SELECT skene_resume()';

CREATE FUNCTION @extschema@.skene_retry(id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    found_one boolean;
BEGIN
    -- one under way or waiting keeps what is known of it, and its batch; one that had ended
    -- begins anew
    UPDATE skene.outbox o SET next_attempt_at = skene.gate_time()
      FROM skene.outbox a
     WHERE a.outbox_id = id AND a.state = 'pending' AND o.state = 'pending'
       AND (a.origin_system, a.origin_database)
           = (skene.system_identifier(), skene.database_oid())
       AND (o.outbox_id = id OR o.batch_id = a.batch_id);
    found_one := FOUND;
    IF NOT found_one THEN
        UPDATE skene.outbox
           SET state = 'pending', next_attempt_at = skene.gate_time(), first_attempt_at = NULL,
               unknown_since = NULL, settled_at = NULL, batch_id = NULL,
               origin_system = skene.system_identifier(), origin_database = skene.database_oid()
         WHERE outbox_id = id AND state IN ('pending', 'dead', 'held', 'captured', 'cancelled');
        found_one := FOUND;
    END IF;
    IF found_one THEN
        PERFORM skene.wake_worker('probe');
    END IF;
    RETURN found_one;
END
$$;
COMMENT ON FUNCTION @extschema@.skene_retry(bigint) IS
'Send a row of skene.outbox now, with its old key and bytes, whatever became of it, also to a provider that is being left alone; false if it is under way, sent or unknown. Example: SELECT skene_retry(17)';

CREATE FUNCTION @extschema@.skene_cancel(id bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    prompt bigint;
BEGIN
    UPDATE skene.outbox SET state = 'cancelled', settled_at = skene.gate_time()
     WHERE outbox_id = id AND state IN ('pending', 'held', 'dead') AND batch_id IS NULL
    RETURNING CASE step WHEN 1 THEN prompt_id END INTO prompt;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE skene.prompts SET state = 'cancelled' WHERE prompt_id = prompt;
    RETURN true;
END
$$;
COMMENT ON FUNCTION @extschema@.skene_cancel(bigint) IS
'Never send a row of skene.outbox; false if it is under way (also in a batch that will be sent again), ended or unknown. Without its first message a sequence sends no other. Example: SELECT skene_cancel(17)';
