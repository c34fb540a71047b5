-- Bare `UPDATE` of one row, distinct
\set id random(1, :customers)
UPDATE app.counters SET used = used + 1 WHERE user_id = :id::text;
