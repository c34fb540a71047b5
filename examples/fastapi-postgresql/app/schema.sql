-- The application's own tables. They belong to role app, as which the server runs.

CREATE TABLE IF NOT EXISTS users (
    id          text PRIMARY KEY,
    email       text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE users OWNER TO app;

CREATE TABLE IF NOT EXISTS feature_runs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id     text NOT NULL REFERENCES users,
    feature     text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE feature_runs OWNER TO app;
