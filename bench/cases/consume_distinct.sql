-- `skene_consume`, distinct customers
\set id random(1, :customers)
SELECT skene_consume(:id::text, 'export');
