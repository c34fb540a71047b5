-- settle.sql: what became of leased requests is written down, row by row, by whoever still
-- holds the lease: a stale token changes nothing.

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
