-- reset.sql: forgetting what customers did, so that an application's tests begin afresh.
-- Plans, customers, their subscriptions and overrides stay, and so does mail that left.

CREATE FUNCTION skene.forget_denials(user_id text) RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'skene_forget_denials';
COMMENT ON FUNCTION skene.forget_denials(text) IS
'Forget denials that are not yet written down, of one customer or (null) of all; at once, whatever becomes of the transaction';

CREATE FUNCTION skene.reset(user_id text) RETURNS void
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('skene_gate.delivery') = 'on' THEN
        RAISE EXCEPTION 'skene_reset is refused while skene_gate.delivery is on'
            USING ERRCODE = '55000', DETAIL = 'It forgets what customers used, and is meant for tests.',
                  HINT = 'Set skene_gate.delivery to capture for this database.';
    END IF;
    -- wait for prompts that the worker is writing, and have it wait for us
    LOCK TABLE skene.prompts IN SHARE ROW EXCLUSIVE MODE;
    PERFORM skene.forget_denials($1);
    -- events first: the fold moves them into usage, and may commit between the two
    DELETE FROM skene.usage_events e WHERE $1 IS NULL OR e.user_id = $1;
    DELETE FROM skene.usage u WHERE $1 IS NULL OR u.user_id = $1;
    DELETE FROM skene.idempotency_keys k WHERE $1 IS NULL OR k.user_id = $1;
    DELETE FROM skene.prompts p WHERE $1 IS NULL OR p.user_id = $1;
    DELETE FROM skene.outbox o
     WHERE ($1 IS NULL OR o.user_id = $1) AND o.state NOT IN ('leased', 'sent');
    DELETE FROM skene.batches b
     WHERE NOT EXISTS (SELECT FROM skene.outbox o WHERE o.batch_id = b.batch_id);
END
$$;
COMMENT ON FUNCTION skene.reset(text) IS 'skene_reset, of one customer or (null) of all';

CREATE FUNCTION @extschema@.skene_reset() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS
$$ SELECT skene.reset(NULL) $$;
COMMENT ON FUNCTION @extschema@.skene_reset() IS
'For tests: forget all usage, idempotency keys, prompts, denials not yet written down and mail that has not left. Plans, customers, subscriptions and conversions stay. Errors: 55000 while skene_gate.delivery is on. Example: SELECT skene_reset()';

CREATE FUNCTION @extschema@.skene_reset(user_id text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    PERFORM skene.check_user_id(user_id);
    PERFORM skene.reset(user_id);
END
$$;
COMMENT ON FUNCTION @extschema@.skene_reset(text) IS
'skene_reset for one customer. Errors: 22004 null id, 55000 while skene_gate.delivery is on. Example: SELECT skene_reset(''u1'')';

CREATE FUNCTION @extschema@.skene_reset(user_uuid uuid) RETURNS void
LANGUAGE sql RETURN @extschema@.skene_reset($1::text);
COMMENT ON FUNCTION @extschema@.skene_reset(uuid) IS
'skene_reset for uuid ids. Example: SELECT skene_reset(id) FROM users';

CREATE FUNCTION @extschema@.skene_reset(user_bigint bigint) RETURNS void
LANGUAGE sql RETURN @extschema@.skene_reset($1::text);
COMMENT ON FUNCTION @extschema@.skene_reset(bigint) IS
'skene_reset for bigint ids. Example: SELECT skene_reset(id) FROM users';
