-- setup.sql: the database every driver's program connects to, as a back end's role.
CREATE EXTENSION skene_gate;
SELECT count(*) FROM skene_apply('{
  "plans":    { "free": { "default": true }, "pro": { "rank": 1, "prices": ["price_pro"] } },
  "features": { "export": { "limit": { "free": 3, "pro": 10 }, "period": "30d" },
                "search": { "limit": { "free": null, "pro": null }, "period": "lifetime" } } }');

CREATE ROLE webapp LOGIN;
SELECT skene_grant_role('webapp', 'app');

-- for the ORMs: a table of the application's
CREATE TABLE projects (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner text NOT NULL);
ALTER TABLE projects OWNER TO webapp;
