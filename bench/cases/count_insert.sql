-- `SELECT count(*)`, then `INSERT`: what most applications do; not exact
\set id random(1, :customers)
BEGIN;
SELECT count(*) < 1000000000 AS allowed FROM app.runs
 WHERE user_id = :id::text AND run_at >= date_trunc('month', now()) \gset
\if :allowed
INSERT INTO app.runs (user_id) VALUES (:id::text);
\endif
COMMIT;
