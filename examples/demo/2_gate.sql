-- The same application with skene_gate. The published configuration, as it stands:
TRUNCATE feature_runs;
CREATE EXTENSION skene_gate;
SELECT skene_grant_role('app', 'app') \g /dev/null
\set config `cat examples/fastapi-postgresql/skene.config.ts`
SELECT object, name, action, new_value->>'usage_limit' AS usage_limit FROM skene_apply(:'config');
-- Sender, link and name of the product, and whom to write to:
\set settings `cat examples/demo/settings.json`
SELECT * FROM skene_apply(:'settings') \g /dev/null
SELECT skene_identify('acme', email => 'ada@acme.example', name => 'Ada') \g /dev/null
