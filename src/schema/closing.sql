-- closing.sql: the end of every script, of the install script and of the steps between
-- versions. It sees all that the script made, so that no script has to think of it.

-- Default privileges may have given any role rights on what this script made: rows of
-- pg_depend as young as pg_extension's, which every script starts by writing.
DO $revoke$
DECLARE
    made record;
BEGIN
    FOR made IN
        SELECT CASE d.classid WHEN 'pg_proc'::regclass THEN 'FUNCTION ' || d.objid::regprocedure
                              WHEN 'pg_namespace'::regclass THEN 'SCHEMA ' || d.objid::regnamespace
                              ELSE CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END
                                   || d.objid::regclass END AS object,
               CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
          FROM pg_extension e
          JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
          LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
          LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
          LEFT JOIN pg_namespace n ON d.classid = 'pg_namespace'::regclass AND n.oid = d.objid,
               aclexplode(CASE d.classid
                   WHEN 'pg_class'::regclass THEN c.relacl
                   WHEN 'pg_proc'::regclass THEN coalesce(p.proacl, acldefault('f', p.proowner))
                   WHEN 'pg_namespace'::regclass THEN n.nspacl END) AS a
         WHERE e.extname = 'skene_gate' AND d.deptype = 'e' AND d.xmin = e.xmin
           AND a.grantee <> coalesce(c.relowner, p.proowner, n.nspowner)
    LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', made.object, made.grantee);
    END LOOP;
END
$revoke$;

-- pg_dump keeps every row of every table, except what this script put there.
DO $dump$
DECLARE
    kept record;
BEGIN
    FOR kept IN
        SELECT c.oid::regclass AS relation,
               CASE c.relname WHEN 'templates' THEN 'WHERE NOT builtin' ELSE '' END AS condition
          FROM pg_class c
          JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
          JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
         WHERE e.extname = 'skene_gate' AND c.relkind IN ('r', 'S')
    LOOP
        PERFORM pg_extension_config_dump(kept.relation, kept.condition);
    END LOOP;
END
$dump$;

SELECT skene.wake_worker('install');
