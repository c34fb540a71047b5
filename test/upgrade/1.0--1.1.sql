-- 1.0--1.1.sql: a step between versions, for the tests only. It makes the changes that
-- steps are made of: a column, an index, a body, a column of a view, and a table with a
-- function that writes to it. 1.1.pl makes the same changes in the install script.
\echo Use "ALTER EXTENSION skene_gate UPDATE TO '1.1'" to load this file. \quit

SELECT skene.check_library();

SET LOCAL search_path TO pg_catalog, pg_temp;

ALTER TABLE skene.customers
    ADD COLUMN country text NOT NULL DEFAULT '' CHECK (country ~ '^([A-Z]{2})?$');
COMMENT ON COLUMN skene.customers.country IS 'ISO 3166 code';

DROP INDEX skene.conversions_feature;
CREATE INDEX conversions_feature ON skene.conversions (feature, kind);

CREATE OR REPLACE FUNCTION skene.next_due()
RETURNS TABLE (provider text, waiting boolean, next_attempt_at timestamptz)
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT p.name,
           EXISTS (SELECT FROM skene.outbox d
                    WHERE d.provider = p.name AND d.state = 'pending'
                      AND d.next_attempt_at <= skene.gate_time()),
           (SELECT min(coalesce(o.lease_expires_at, o.next_attempt_at)) FROM skene.outbox o
             WHERE o.provider = p.name AND o.state IN ('pending', 'leased')
               AND coalesce(o.lease_expires_at, o.next_attempt_at) > skene.gate_time())
      FROM (VALUES ('resend'), ('stripe')) AS p (name)
$$;

CREATE OR REPLACE VIEW skene.outbox_stats AS
SELECT provider, state, count(*) AS messages, min(created_at) AS oldest_created_at,
       max(settled_at) AS last_settled_at,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY total_ms) AS median_ms,
       max(attempts) AS max_attempts,
       min(next_attempt_at) AS next_attempt_at
  FROM skene.outbox
 GROUP BY provider, state;

CREATE TABLE skene.remarks (
    remark_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id    skene.user_id NOT NULL,
    remark     text NOT NULL
);
CREATE INDEX remarks_user ON skene.remarks (user_id);
COMMENT ON TABLE skene.remarks IS 'What people wrote about a customer';

CREATE FUNCTION @extschema@.skene_remark(user_id text, remark text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
    INSERT INTO skene.remarks (user_id, remark) VALUES ($1, $2) RETURNING remark_id
$$;
COMMENT ON FUNCTION @extschema@.skene_remark(text, text) IS
'Write a remark about a customer. Example: SELECT skene_remark(''u1'', ''called today'')';
