-- `INSERT` of one row, one index
\set id random(1, :customers)
INSERT INTO app.events (user_id, feature) VALUES (:id::text, 'export');
