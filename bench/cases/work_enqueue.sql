-- the same, and a message in `skene.outbox`
BEGIN;
INSERT INTO app.events (user_id, feature) VALUES ('u', 'export');
INSERT INTO skene.outbox (provider, path, body, idempotency_key)
VALUES ('resend', '/emails', '{"from": "Acme <hello@acme.test>", "to": "u@example.com", "subject": "You have reached your limit", "text": "You have reached your limit."}', gen_random_uuid());
END;
