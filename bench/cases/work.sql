-- a transaction of the caller's with one `INSERT`
BEGIN;
INSERT INTO app.events (user_id, feature) VALUES ('u', 'export');
END;
