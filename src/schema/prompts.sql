-- prompts.sql: from the note of a denial, or a level reached, to a prompt. The worker calls
-- write_prompt in a transaction of its own, so the caller's rollback cannot undo it.

-- Denied transactions may have been the first to speak of a customer, and roll back; a
-- prompt for somebody who never came to be would be noise, in tests as in production.
CREATE FUNCTION skene.customer_exists(user_id text) RETURNS boolean
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM skene.customers c WHERE c.user_id = $1)
        OR EXISTS (SELECT FROM skene.usage u WHERE u.user_id = $1)
        OR EXISTS (SELECT FROM skene.usage_events e WHERE e.user_id = $1)
        OR EXISTS (SELECT FROM skene.subscriptions s WHERE s.user_id = $1)
        OR EXISTS (SELECT FROM skene.overrides o WHERE o.user_id = $1)
$$;
COMMENT ON FUNCTION skene.customer_exists(text) IS
    'Is there a committed row of this customer: identified, counted, subscribed or overridden?';

CREATE FUNCTION skene.write_prompt(user_id text, feature text, period text, window_start timestamptz,
                                   window_end timestamptz, kind text, plan text, denials bigint,
                                   first_denied_at timestamptz, last_denied_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    known bigint;
BEGIN
    IF NOT skene.customer_exists($1) THEN
        RETURN NULL;
    END IF;
    -- Windows of one counter overlap only when the customer's anchor was not the same: it
    -- is set by a first use, which may roll back. That is no reason to ask again.
    SELECT o.prompt_id INTO known FROM skene.prompts o
     WHERE o.user_id = $1 AND o.feature = $2 AND o.period = $3 AND o.kind = $6
       AND o.window_start < $5 AND o.window_end > $4
     ORDER BY o.window_start DESC LIMIT 1;
    IF known IS NULL THEN
        INSERT INTO skene.prompts (user_id, feature, period, window_start, window_end, kind, plan,
                                   denials, first_denied_at, last_denied_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);
        RETURN true;
    ELSIF $8 = 0 THEN -- a level: there is a prompt, and nothing to add
        RETURN true;
    END IF;
    UPDATE skene.prompts p
       SET denials = p.denials + $8, last_denied_at = greatest(p.last_denied_at, $10)
     WHERE p.prompt_id = (SELECT o.prompt_id FROM skene.prompts o
                           WHERE o.prompt_id = known FOR UPDATE SKIP LOCKED);
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION skene.write_prompt(text, text, text, timestamptz, timestamptz, text, text, bigint, timestamptz, timestamptz) IS
    'Add denials to a window''s prompt; the first ones create it. Nothing is written and the answer is null while the customer does not exist, false while somebody has the prompt locked';

-- Customers whose address came after the prompt, while its window lasts.
CREATE FUNCTION skene.readdress_prompts() RETURNS void
LANGUAGE sql SET search_path TO pg_catalog, pg_temp AS $$
    UPDATE skene.prompts p SET state = 'new', error = NULL
      FROM skene.customers c
     WHERE p.state = 'no_address' AND c.user_id = p.user_id AND c.email IS NOT NULL
       AND p.window_end > skene.gate_time()
$$;
COMMENT ON FUNCTION skene.readdress_prompts() IS 'Sends prompts whose customer has got an address';
