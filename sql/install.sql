-- install.sql: what CREATE EXTENSION makes, and what it must never make.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS skene_gate;
CREATE EXTENSION skene_gate;
RESET client_min_messages;

-- What belongs to the extension.
CREATE VIEW members AS
SELECT d.classid, d.objid
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'skene_gate';
CREATE VIEW functions AS
SELECT p.*, p.oid::regprocedure AS signature, n.nspname, l.lanname
  FROM members m
  JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
  JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_language l ON l.oid = p.prolang;
CREATE VIEW relations AS
SELECT c.* FROM members m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid;

SELECT extversion, extrelocatable, extnamespace::regnamespace FROM pg_extension WHERE extname = 'skene_gate';

\pset format unaligned
SELECT signature, lanname,
       CASE provolatile WHEN 'v' THEN 'volatile' WHEN 's' THEN 'stable' ELSE 'immutable' END AS volatility,
       CASE proparallel WHEN 'u' THEN 'unsafe' WHEN 'r' THEN 'restricted' ELSE 'safe' END AS parallel,
       CASE WHEN prosecdef THEN 'definer' ELSE 'invoker' END AS security,
       CASE WHEN proisstrict THEN 'strict' END AS strict
  FROM functions ORDER BY signature::text COLLATE "C";
SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' END AS kind, oid::regclass
  FROM relations WHERE relkind IN ('r', 'v', 'S') ORDER BY 1, relname COLLATE "C";
\pset format aligned

-- Everything that people are to call or read has a description.
SELECT signature FROM functions WHERE proname LIKE 'skene%' AND obj_description(oid, 'pg_proc') IS NULL;
SELECT oid::regclass FROM relations
 WHERE relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL;
SELECT a.attrelid::regclass, a.attname FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
 WHERE r.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
   AND col_description(a.attrelid, a.attnum) IS NULL
 ORDER BY 1, a.attnum;
-- Names of arguments are what PostgREST calls by: every argument has one, and overloads differ.
SELECT signature FROM functions
 WHERE nspname = 'public' AND pronargs > 0 AND proargnames IS NULL AND proname NOT LIKE '%\_hook';
SELECT proname, proargnames FROM functions
 WHERE nspname = 'public' AND proname <> 'skene_stripe_webhook'
 GROUP BY proname, proargnames HAVING count(*) > 1;

-- Nobody but the owner may do anything.
SELECT signature FROM functions, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
 WHERE a.grantee <> proowner;
SELECT oid::regclass FROM relations, aclexplode(relacl) a WHERE a.grantee <> relowner;
SELECT nspname FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = 'skene' AND a.grantee <> nspowner;

-- A function that is parsed when it runs pins its search_path.
SELECT signature, prosecdef FROM functions
 WHERE lanname <> 'c' AND prosqlbody IS NULL
   AND proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']
 ORDER BY signature::text COLLATE "C";

-- pg_dump keeps every table and sequence, except seed rows.
SELECT r.oid::regclass FROM relations r
 WHERE relkind IN ('r', 'S')
   AND NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'skene_gate' AND r.oid = ANY (e.extconfig));
SELECT c.oid::regclass AS relation, c.condition
  FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS c (oid, condition)
 WHERE e.extname = 'skene_gate' AND c.condition <> '';

-- Each table can be replicated: it has a primary key or a replica identity.
SELECT oid::regclass FROM relations r
 WHERE relkind = 'r' AND relreplident <> 'f'
   AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = r.oid AND i.indisprimary);

-- The script takes over no object that somebody else made.
SELECT line
  FROM pg_config c,
       string_to_table(pg_read_file(c.setting || '/extension/skene_gate--1.0.sql'), E'\n') AS line
 WHERE c.name = 'SHAREDIR' AND line ~* '^\s*create\s.*(or\s+replace|if\s+not\s+exists)';

DROP VIEW functions, relations, members;
DROP EXTENSION skene_gate;
SELECT count(*) FROM pg_namespace WHERE nspname = 'skene';

-- Where it cannot go.
\set SHOW_CONTEXT never
CREATE SCHEMA skene;
CREATE EXTENSION skene_gate;
CREATE EXTENSION skene_gate SCHEMA skene;
DROP SCHEMA skene;
BEGIN;
CREATE EXTENSION skene_gate;
PREPARE TRANSACTION 'install';
\set SHOW_CONTEXT errors

-- Where others could plant functions it warns; rights given in advance are taken back.
CREATE SCHEMA open;
CREATE ROLE regress_skene_greedy;
GRANT CREATE ON SCHEMA open TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_skene_greedy;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_skene_greedy;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_skene_greedy;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC, regress_skene_greedy;
CREATE EXTENSION skene_gate SCHEMA open;
SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a
 WHERE c.relnamespace = 'skene'::regnamespace AND a.grantee <> c.relowner;
SELECT count(*) FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
 WHERE p.pronamespace IN ('skene'::regnamespace, 'open'::regnamespace) AND a.grantee <> p.proowner;
SELECT has_schema_privilege('regress_skene_greedy', 'skene', 'USAGE, CREATE');

-- It works in any schema, and stays there.
SELECT count(*) > 0 AS applied FROM open.skene_apply('{"features": {"export": {"limit": {"free": 1}, "period": "lifetime"}}}');
SELECT open.skene_consume('install-1', 'export'), open.skene_consume('install-1', 'export');
ALTER EXTENSION skene_gate SET SCHEMA public;

DROP EXTENSION skene_gate;
DROP SCHEMA open;
DROP OWNED BY regress_skene_greedy;
DROP ROLE regress_skene_greedy;
