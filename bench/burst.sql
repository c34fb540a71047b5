-- Against a limit of 10,000, beside a row of the application's own.
BEGIN;
SELECT skene_consume('burst', 'burst') AS allowed \gset
\if :allowed
INSERT INTO app.bursts VALUES (:client_id);
\endif
COMMIT;
