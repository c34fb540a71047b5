-- By hand, near the limit: take one of 16 units, give it back
SELECT app.consume('near', 'seat', 16) AS taken \gset
\if :taken
UPDATE app.usage SET used = used - 1
 WHERE user_id = 'near' AND feature = 'seat' AND month = date_trunc('month', now());
\endif
