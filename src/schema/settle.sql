-- settle.sql: what became of leased requests is written down, row by row, by whoever still
-- holds the lease: a stale token changes nothing.
--
-- Rows and prompts are found by arrays of their keys, and by no other condition that an index
-- is for: plans may be of a time when a table was empty, and must not read all of it later.

-- Write down how attempts ended: an array of objects with id, token, verdict (sent, retry,
-- wait, halt, bury, alone: not in this batch, or split: the batch as such was refused), wait
-- (seconds), uncertain, status, error, sent_id and the times since the attempt began. After a
-- split each goes under its own key, unless the batch may have been accepted before all the
-- same. A stale token changes nothing. Returns rows that died of it, and rows that somebody
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
    prompts := array_remove(ARRAY(
        SELECT o.prompt_id FROM skene.outbox o WHERE o.outbox_id = ANY (mine)), NULL);
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
        SELECT DISTINCT o.batch_id FROM skene.outbox o WHERE o.outbox_id = ANY (free));

    RETURN QUERY
    WITH fate AS (
        SELECT s.id, s.wait, s.status, s.error, s.sent_id, s.dns_ms, s.connect_ms, s.tls_ms,
               s.first_byte_ms, s.total_ms, o.first_attempt_at,
               CASE WHEN s.verdict <> 'split' THEN s.verdict
                    WHEN o.unknown_since IS NULL AND NOT s.uncertain THEN 'alone' ELSE 'bury' END AS verdict,
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
        SELECT f.*, CASE WHEN f.verdict IN ('sent', 'bury') THEN f.verdict
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
               last_status = nullif(e.status, 0),
               last_error = nullif(concat_ws('; ', nullif(e.error, ''), CASE e.how
                   WHEN 'forgotten' THEN 'given up: for 23 hours nobody knows whether it was accepted'
                   WHEN 'hopeless' THEN 'given up: not accepted for 3 days' END), ''),
               provider_id = coalesce(nullif(e.sent_id, ''), o.provider_id),
               unknown_since = CASE WHEN e.verdict NOT IN ('sent', 'alone') THEN e.unknown_since END,
               next_attempt_at = CASE WHEN e.how IS NULL THEN e.again_at ELSE o.next_attempt_at END,
               batch_id = CASE WHEN e.how IS NULL AND e.verdict <> 'alone' THEN o.batch_id END,
               alone = o.alone OR e.verdict = 'alone',
               dns_ms = nullif(e.dns_ms, 0), connect_ms = nullif(e.connect_ms, 0),
               tls_ms = nullif(e.tls_ms, 0), first_byte_ms = nullif(e.first_byte_ms, 0),
               total_ms = nullif(e.total_ms, 0)
          FROM ended e WHERE o.outbox_id = e.id
        RETURNING o.outbox_id, o.state)
    SELECT s.outbox_id, 'dead' FROM settled s WHERE s.state = 'dead'
    UNION ALL
    SELECT o.outbox_id, 'locked' FROM skene.outbox o
      JOIN jsonb_to_recordset(outcomes) AS s (id bigint, token uuid) ON s.id = o.outbox_id
     WHERE o.outbox_id = ANY (ids) AND o.outbox_id <> ALL (free)
       AND o.state = 'leased' AND o.lease_token = s.token;

    UPDATE skene.prompts p
       SET (state, error) = (
           SELECT CASE o.state WHEN 'sent' THEN 'sent' ELSE 'failed' END,
                  CASE o.state WHEN 'dead' THEN o.last_error END
             FROM skene.outbox o
            WHERE o.prompt_id = p.prompt_id AND o.step = 1
              AND o.outbox_id = ANY (free) AND o.state IN ('sent', 'dead')
            LIMIT 1)
     WHERE p.prompt_id = ANY (ARRAY(
           SELECT o.prompt_id FROM skene.outbox o
            WHERE o.step = 1 AND o.outbox_id = ANY (free) AND o.state IN ('sent', 'dead')));

    DELETE FROM skene.batches b
     WHERE b.batch_id = ANY (batches)
       AND NOT EXISTS (SELECT FROM skene.outbox o WHERE o.batch_id = b.batch_id);
END
$$;
COMMENT ON FUNCTION skene.settle_outbox(jsonb) IS
    'Write down how attempts ended; returns rows that are dead now, and locked ones, to be settled later';
