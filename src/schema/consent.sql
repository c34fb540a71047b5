-- consent.sql: who must not be written to. Addresses are kept as hashes, so that they stay
-- suppressed when the customer is erased, and nobody can read them here.

CREATE FUNCTION skene.address_hash(address text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT SET search_path TO pg_catalog, pg_temp AS
$$ SELECT sha256(convert_to(lower($1 COLLATE "C"), 'UTF8')) $$;
COMMENT ON FUNCTION skene.address_hash(text) IS 'Key of skene.suppressions';

CREATE FUNCTION skene.check_address(address text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    IF address IS NULL THEN
        RAISE EXCEPTION 'e-mail address must not be null' USING ERRCODE = '22004';
    ELSIF NOT skene.valid_address(address) THEN
        RAISE EXCEPTION 'not an e-mail address'
            USING ERRCODE = '22023', HINT = 'Pass one bare address, such as ada@example.com.';
    END IF;
END
$$;

-- Why an address must not be written to; null when it may be.
CREATE FUNCTION skene.objection(address text) RETURNS text
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT 'the address is suppressed' || coalesce(': ' || s.reason, '')
      FROM skene.suppressions s
     WHERE s.address_hash = skene.address_hash($1) AND s.category = 'all'
$$;
COMMENT ON FUNCTION skene.objection(text) IS
    'Why nothing may be sent to an address; null when it may be';

CREATE FUNCTION @extschema@.skene_suppress(email text, reason text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    PERFORM skene.check_address(skene_suppress.email);
    INSERT INTO skene.suppressions (address_hash, category, reason)
    VALUES (skene.address_hash(skene_suppress.email), 'all', skene_suppress.reason)
    ON CONFLICT (address_hash, category) DO UPDATE SET reason = excluded.reason;
END
$$;
COMMENT ON FUNCTION @extschema@.skene_suppress(text, text) IS
'Send nothing to an address any more, whichever customer has it; what waits is cancelled when its time comes. Only a hash of the address is kept. Errors: 22004 null, 22023 not an address. Example: SELECT skene_suppress(''ada@example.com'', ''asked us by phone'')';

CREATE FUNCTION @extschema@.skene_unsuppress(email text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    PERFORM skene.check_address($1);
    DELETE FROM skene.suppressions s WHERE s.address_hash = skene.address_hash($1);
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION @extschema@.skene_unsuppress(text) IS
'Allow mail to an address again, also marketing; false if it was not suppressed. Errors: 22004 null, 22023 not an address. Example: SELECT skene_unsuppress(''ada@example.com'')';
