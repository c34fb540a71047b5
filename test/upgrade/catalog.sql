-- catalog.sql: all that the extension is in this database, a line for each fact, with no
-- OID in it (so without TOAST): what two ways of getting to a version must agree on. Members, and what hangs
-- on them (columns, constraints, indexes, triggers, rules, types), each with its definition,
-- owner, privileges and comment; the extension's own row; the rows that scripts insert.
WITH RECURSIVE extension AS (
    SELECT * FROM pg_extension WHERE extname = 'skene_gate'
), object (classid, objid, objsubid) AS (
    SELECT 'pg_extension'::regclass::oid, oid, 0 FROM extension
    UNION
    SELECT d.classid, d.objid, d.objsubid
      FROM object o
      JOIN pg_depend d ON (d.refclassid, d.refobjid) = (o.classid, o.objid)
                      AND d.deptype IN ('e', 'i', 'a', 'S', 'P')
), column_of AS (
    SELECT a.*, row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS place
      FROM pg_attribute a JOIN object o ON o.classid = 'pg_class'::regclass AND o.objid = a.attrelid
     WHERE o.objsubid = 0 AND a.attnum > 0 AND NOT a.attisdropped
), fact (classid, objid, objsubid, fact, value) AS (
    SELECT classid, objid, objsubid, 'exists', NULL FROM object

    -- definitions
    UNION ALL
    SELECT 'pg_extension'::regclass, oid, 0, 'definition',
           concat_ws(' ', extversion, extnamespace::regnamespace, extowner::regrole, extrelocatable)
      FROM extension
    UNION ALL
    SELECT 'pg_extension'::regclass, e.oid, 0, 'dumps', format('%s %s', c.relation::regclass, c.condition)
      FROM extension e, unnest(e.extconfig, e.extcondition) AS c (relation, condition)
    UNION ALL
    SELECT o.classid, oid, 0, 'definition', concat_ws(' ', nspowner::regrole, nspacl)
      FROM pg_namespace n JOIN object o ON o.classid = 'pg_namespace'::regclass AND o.objid = n.oid
    UNION ALL
    SELECT o.classid, p.oid, 0, 'definition',
           concat_ws(' ', p.proowner::regrole, p.proacl, p.proleakproof, p.probin, pg_get_functiondef(p.oid))
      FROM pg_proc p JOIN object o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
    UNION ALL
    SELECT o.classid, c.oid, 0, 'definition',
           concat_ws(' ', c.relkind, c.relowner::regrole, c.relacl, c.relpersistence, c.relreplident,
                     c.reloptions, c.relrowsecurity, c.relforcerowsecurity, c.reltablespace,
                     CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid)
                          WHEN c.relkind = 'i' THEN pg_get_indexdef(c.oid) END,
                     (SELECT concat_ws(' ', i.indisprimary, i.indisunique, i.indisvalid, i.indisreplident)
                        FROM pg_index i WHERE i.indexrelid = c.oid),
                     (SELECT s - 'seqrelid' FROM pg_sequence q, to_jsonb(q) s WHERE q.seqrelid = c.oid))
      FROM pg_class c JOIN object o ON o.classid = 'pg_class'::regclass AND o.objid = c.oid
     WHERE o.objsubid = 0
    UNION ALL
    SELECT 'pg_class'::regclass, a.attrelid, a.attnum, 'definition',
           concat_ws(' ', a.place, format_type(a.atttypid, a.atttypmod), a.attcollation::regcollation,
                     a.attnotnull, a.attidentity, a.attgenerated, a.attstorage, a.attcompression,
                     a.attstattarget, a.attacl,
                     -- minor releases note here when a column was made
                     (SELECT string_agg(p, ',') FROM unnest(a.attoptions) p WHERE p !~ '^pg_attver='),
                     (SELECT pg_get_expr(f.adbin, f.adrelid) FROM pg_attrdef f
                       WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum))
      FROM column_of a
    UNION ALL
    SELECT o.classid, k.oid, 0, 'definition', concat_ws(' ', k.convalidated, pg_get_constraintdef(k.oid))
      FROM pg_constraint k JOIN object o ON o.classid = 'pg_constraint'::regclass AND o.objid = k.oid
    UNION ALL
    SELECT o.classid, g.oid, 0, 'definition', concat_ws(' ', g.tgenabled, pg_get_triggerdef(g.oid))
      FROM pg_trigger g JOIN object o ON o.classid = 'pg_trigger'::regclass AND o.objid = g.oid
    UNION ALL
    SELECT o.classid, r.oid, 0, 'definition', concat_ws(' ', r.ev_enabled, pg_get_ruledef(r.oid))
      FROM pg_rewrite r JOIN object o ON o.classid = 'pg_rewrite'::regclass AND o.objid = r.oid
    UNION ALL
    SELECT o.classid, t.oid, 0, 'definition',
           concat_ws(' ', t.typtype, t.typowner::regrole, t.typacl, t.typnotnull, t.typdefault,
                     t.typbasetype::regtype, t.typcollation::regcollation)
      FROM pg_type t JOIN object o ON o.classid = 'pg_type'::regclass AND o.objid = t.oid

    -- comments, and what pg_dump takes for given of privileges
    UNION ALL
    SELECT d.classoid, d.objoid, d.objsubid, 'comment', d.description
      FROM pg_description d JOIN object o ON (o.classid, o.objid, 0) = (d.classoid, d.objoid, o.objsubid)
    UNION ALL
    SELECT p.classoid, p.objoid, p.objsubid, 'initial privileges', p.initprivs::text
      FROM pg_init_privs p JOIN object o ON (o.classid, o.objid, 0) = (p.classoid, p.objoid, o.objsubid)
     WHERE p.privtype = 'e'
), named AS (
    SELECT f.fact, f.value, f.classid, f.objid,
           concat_ws(' ', i.type, i.identity) AS object
      FROM fact f, pg_identify_object(f.classid, f.objid, f.objsubid) i
     WHERE i.schema IS DISTINCT FROM 'pg_toast'
)
SELECT concat_ws(' | ', object, fact, replace(value, E'\n', E'\\n')) FROM named
-- a kind of object that nobody has written a definition for
UNION ALL
SELECT concat_ws(' | ', n.object, 'HAS NO DEFINITION HERE') FROM named n
 WHERE n.fact = 'exists' AND n.classid <> 'pg_attrdef'::regclass
   AND NOT EXISTS (SELECT FROM named d WHERE d.object = n.object AND d.fact = 'definition')
UNION ALL
SELECT 'row of templates | ' || replace(t::text, E'\n', E'\\n') FROM skene.templates t WHERE t.builtin
UNION ALL
SELECT 'setting | ' || (to_jsonb(s) - '{setting,sourceline,sourcefile,source,reset_val,pending_restart}'::text[])::text
  FROM pg_settings s WHERE s.name LIKE 'skene\_gate.%'
 ORDER BY 1;
