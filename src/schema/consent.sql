-- consent.sql: who must not be written to, or not for marketing. Addresses are kept as hashes,
-- so that they stay suppressed when the customer is erased, and nobody can read them here.

CREATE FUNCTION skene.address_hash(address text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT SET search_path TO pg_catalog, pg_temp AS
$$ SELECT sha256(convert_to(lower($1 COLLATE "C"), 'UTF8')) $$;
COMMENT ON FUNCTION skene.address_hash(text) IS 'Key of skene.suppressions';

-- Why a customer must not be written to at an address; null when it may be. What is not said
-- about marketing is decided by the setting marketingConsent; anything but true is no.
CREATE FUNCTION skene.objection(customer skene.customers, address text, category text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT why
          FROM (SELECT 1, 'the address is suppressed' || coalesce(': ' || s.reason, '')
                  FROM skene.suppressions s
                 WHERE s.address_hash = skene.address_hash($2) AND s.category = 'all'
                UNION ALL
                SELECT 2, 'the address has unsubscribed from marketing' FROM skene.suppressions s
                 WHERE s.address_hash = skene.address_hash($2) AND s.category = 'marketing'
                   AND $3 = 'marketing'
                UNION ALL
                SELECT 3, 'the customer has not agreed to marketing'
                 WHERE $3 = 'marketing'
                   AND CASE WHEN ($1).attributes->>'marketing' IS NULL
                            THEN skene.setting('marketingConsent') = 'opt-in'
                            ELSE ($1).attributes->'marketing' <> 'true' END) AS o (priority, why)
         ORDER BY priority LIMIT 1);
END
$$;
COMMENT ON FUNCTION skene.objection(skene.customers, text, text) IS
    'Why a message of a category may not be sent to a customer at an address; null when it may be';

-- Where a customer can unsubscribe; null without the setting.
CREATE FUNCTION skene.unsubscribe_url(customer skene.customers) RETURNS text
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT page || CASE WHEN page LIKE '%?%' THEN '&' ELSE '?' END || 'token=' || ($1).unsubscribe_token
          FROM skene.setting('unsubscribeUrl') AS page);
END
$$;
COMMENT ON FUNCTION skene.unsubscribe_url(skene.customers) IS
    'The page of the setting unsubscribeUrl, with the customer''s token';

CREATE FUNCTION @extschema@.skene_unsubscribe(token text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    address text;
BEGIN
    SELECT c.email INTO address FROM skene.customers c WHERE c.unsubscribe_token = $1;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO skene.suppressions (address_hash, category, reason)
    SELECT skene.address_hash(address), 'marketing', 'unsubscribed' WHERE address IS NOT NULL
    ON CONFLICT (address_hash, category) DO NOTHING;
    RETURN true;
END
$$;
COMMENT ON FUNCTION @extschema@.skene_unsubscribe(text) IS
'Send no marketing to the address of the customer whose token this is: the one that unsubscribeUrl is called with. False for a token that nobody has; twice is as good as once. Example: SELECT skene_unsubscribe(''0123456789abcdef0123456789abcdef'')';

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
