-- apply.sql: skene_apply(): documents become configuration rows.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS skene_gate;
CREATE EXTENSION skene_gate;
RESET client_min_messages;
\pset format unaligned

-- A published loop, as it stands in an application.
\set loop `cat "$PG_ABS_SRCDIR/examples/fastapi-postgresql/skene.config.ts"`
SELECT * FROM skene_apply(:'loop', dry_run => true);
SELECT count(*) FROM skene.plans;
SELECT object, name, action FROM skene_apply(:'loop');
SELECT * FROM skene.plans ORDER BY rank;
SELECT * FROM skene.features;
SELECT * FROM skene.entitlements ORDER BY plan;

-- The same document again, however it is laid out, changes nothing, writes nothing
-- and takes no lock that anybody waits for.
SET client_min_messages = error; -- an apostrophe in the published text is worth a warning
BEGIN;
SELECT * FROM skene_apply(:'loop');
SELECT * FROM skene_apply(:'loop', prune => true);
SELECT * FROM skene_apply(regexp_replace(:'loop', '^[ \t]+', '', 'ng'));
SELECT * FROM skene_apply(replace(:'loop', E'\n', E'\r\n'));
SELECT * FROM skene_apply(regexp_replace(regexp_replace(:'loop', '(^|[^:])//.*$', '\1', 'ng'), '\s+', ' ', 'g'));
SELECT * FROM skene_apply('{
  "features": {"api_features": {
    "limit": {"free": 100, "paid": null}, "period": "30d", "endpoints": ["POST /api/features/*"],
    "message": "You''ve reached your free tier limit. Upgrade to continue.",
    "prompt": {"type": "email", "provider": "resend", "template": "upgrade_prompt"}}}}');
SELECT pg_current_xact_id_if_assigned() IS NULL AS nothing_written;
SELECT relation::regclass, mode FROM pg_locks
 WHERE pid = pg_backend_pid() AND locktype = 'relation' AND mode <> 'AccessShareLock';
COMMIT;
RESET client_min_messages;

-- A document merges: it changes what it names and leaves the rest.
SELECT object, name, action, old_value->'usage_limit' AS old_limit, new_value->'usage_limit' AS new_limit
  FROM skene_apply('{"features": {"api_features": {"limit": {"free": 7, "paid": null}, "period": "30d"},
                                  "seats": {"limit": {"free": 1, "paid": 10}, "period": "lifetime"}},
                     "settings": {"upgradeUrl": "https://example.com/upgrade"}}');
-- An entitlement that a feature of the document does not list any more is gone.
SELECT object, name, action
  FROM skene_apply('{"features": {"seats": {"limit": {"paid": 10}, "period": "lifetime"}}}');
-- Another period means other windows: the old entitlements go.
SELECT object, name, action
  FROM skene_apply('{"features": {"seats": {"limit": {"paid": 10}, "period": "month"}}}');

-- Plans: the default one moves, ranks and prices change.
SELECT object, name, action, new_value
  FROM skene_apply('{"plans": {"starter": {"default": true}, "free": {}, "paid": {"rank": 5, "prices": ["price_1", "pro_monthly"]}},
                     "features": {"seats": {"limit": {"starter": 1, "free": 1, "paid": 10}, "period": "month"}}}');
SELECT plan, rank, is_default, prices FROM skene.plans ORDER BY rank, plan;

-- Templates.
SELECT * FROM skene_apply('{"templates": {"upgrade_prompt": {"subject": "More {{feature}}?", "text": "{{message}}"}}}');
SELECT * FROM skene_apply('{"templates": {"upgrade_prompt": {"subject": "More {{feature}}?", "text": "{{message}}"}}}');
SELECT template, builtin, subject FROM skene.templates ORDER BY builtin;

-- prune removes what the document does not name, never the built-in template.
SELECT object, name, action
  FROM skene_apply('{"features": {"export": {"limit": {"free": 5}, "period": "30d"}}}', prune => true, dry_run => true);
SELECT count(*) AS still FROM skene.features;
SELECT object, name, action
  FROM skene_apply('{"features": {"export": {"limit": {"free": 5}, "period": "30d"}}}', prune => true);
SELECT feature FROM skene.features;
SELECT template, builtin FROM skene.templates;

-- What was used stays when the limit moves.
SELECT skene_consume('apply-1', 'export', 5);
SELECT name, action FROM skene_apply('{"features": {"export": {"limit": {"free": 3}, "period": "30d"}}}');
SELECT used, usage_limit, remaining FROM skene_usage('apply-1');
SELECT skene_consume('apply-1', 'export');
SELECT name, action FROM skene_apply('{"features": {"export": {"limit": {"free": 6}, "period": "30d"}}}');
SELECT skene_consume('apply-1', 'export'), skene_consume('apply-1', 'export');

-- A new meaning of prices reaches the subscriptions that have them.
INSERT INTO skene.subscriptions (subscription_id, user_id, source, plan, status, prices)
VALUES ('sub_apply', 'apply-2', 'stripe', 'paid', 'active', '{price_gold}');
SELECT object, name, action
  FROM skene_apply('{"plans": {"free": {"default": true}, "gold": {"rank": 2, "prices": ["price_gold"]}}}');
SELECT plan FROM skene.subscriptions;
SELECT object, name, action FROM skene_apply('{"plans": {"free": {"default": true}}}', prune => true);
SELECT plan FROM skene.subscriptions;

-- An apply that is rolled back was none.
BEGIN;
SELECT count(*) FROM skene_apply('{"plans": {"free": {"default": true}, "gold": {"rank": 2}}}');
ROLLBACK;
SELECT plan FROM skene.plans;

-- Documents that are wrong: where, and how to mend it.
\set SHOW_CONTEXT never
SELECT skene_apply('{"features": {');
SELECT skene_apply('{"features": {"export": {"limit": 5 "period": "30d"}}}');
SELECT skene_apply('{"features": {"export": {"limit": 5, "peroid": "30d"}}}');
SELECT skene_apply('{"feature": {}}');
SELECT skene_apply('{
  "features": {
    "export": {"limit": {"pro": 5}, "period": "30d"}
  },
  "plans": {"free": {"default": true}, "prod": {}}
}');
SELECT skene_apply('{"features": {"export": {"limit": "5", "period": "30d"}}}');
SELECT skene_apply('{"features": {"export": {"limit": 5}}}');
SELECT skene_apply('{"features": {"export": {"limit": 5, "period": "fortnight"}}}');
SELECT skene_apply('{"features": {"export": {"limit": 5, "period": "0d"}}}');
SELECT skene_apply('{"features": {"export": {"limit": 5, "period": "30d"},
                            "export": {"limit": 6, "period": "30d"}}}');
SELECT skene_apply('{"features": {"ex port": {"limit": 5, "period": "30d"}}}');
SELECT skene_apply('{"features": {"export": {"limit": 5, "period": "30d", "endpoints": ["post export"]}}}');
SELECT skene_apply('{"features": {"export": {"limit": 5, "period": "30d", "warnAt": [0]}}}');
SELECT skene_apply('{"plans": {"a": {"default": true}, "b": {"default": true}}}');
SELECT skene_apply('{"plans": {"a": {"rank": 1}}}');
SELECT skene_apply('{"plans": {"free": {"default": true}, "a": {"prices": ["p"]}, "b": {"prices": ["p"]}}}');
SELECT skene_apply('{"settings": {"upgradeUrl": "javascript:alert(1)"}}');
SELECT skene_apply('{"settings": {"timeZone": "Mars/Olympus"}}');
SELECT skene_apply('{"settings": {"emailFrom": "Acme"}}');
SELECT skene_apply('{"templates": {"bad": {"subject": "{{name}}", "text": "{{#name}} unclosed"}}}');
SELECT skene_apply('{"templates": {"bad": {"subject": "{{nmae}}", "text": "x"}}}');
-- known to AT TIME ZONE, but windows cannot be counted in it
SELECT skene_apply('{"settings": {"timeZone": "PST"}}');
SELECT skene_apply('{"templates": {"t": {"subject": "s"}}}');
SELECT skene_apply('export default defineLoop({ steps: [');
SELECT skene_apply('export default { features: { export: { limit: 5, period: ''30d } } }');
SELECT skene_apply('/* no end');
SELECT skene_apply('{"features": {"export": {"limit": 5, "period": "30d"}}} and more');
SELECT skene_apply('');
SELECT skene_apply('[]');
SELECT skene_apply('42');
SELECT skene_apply(NULL);
SELECT skene_apply('{}', prune => NULL);
SELECT skene_apply(repeat('[', 100000));
SELECT skene_apply('"' || repeat('x', 1024 * 1024) || '"');

-- A document without plans speaks of the plans that the database has; its tier paid is
-- every plan but the default one.
SELECT count(*) FROM skene_apply('{"plans": {"starter": {"default": true}, "team": {"prices": ["price_team"]}, "big": {}}, "features": {"seats": {"limit": {"starter": 1, "team": 5, "big": null}, "period": "lifetime"}}}', prune => true);
SELECT object, name, action FROM skene_apply('{"features": {"rows": {"limit": {"starter": 2, "team": 7, "paid": 9}, "period": "lifetime"}}}');
SELECT plan, usage_limit FROM skene.entitlements WHERE feature = 'rows' ORDER BY plan;
SELECT plan, rank, is_default, prices FROM skene.plans ORDER BY rank;
-- with prune it brings free and paid instead
SELECT count(*) > 0 AS differs FROM skene_apply('{"features": {"rows": {"limit": {"free": 2, "team": 7}, "period": "lifetime"}}}', prune => true, dry_run => true);
SELECT object FROM skene_apply('{"features": {"cells": {"limit": {"free": 2}, "period": "lifetime"}}}');
