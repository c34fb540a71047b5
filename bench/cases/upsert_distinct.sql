-- By hand in PL/pgSQL, upsert, distinct customers
\set id random(1, :customers)
SELECT app.consume(:id::text, 'export', 1000000000);
