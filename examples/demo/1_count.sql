-- An application, without skene_gate: its table, and the role it connects as.
CREATE ROLE app LOGIN;
CREATE TABLE feature_runs (user_id text NOT NULL, run_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON feature_runs (user_id);
ALTER TABLE feature_runs OWNER TO app;
