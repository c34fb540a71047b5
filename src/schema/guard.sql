-- guard.sql: conditions the rest of the script relies on. A violated one ends
-- CREATE EXTENSION here, before anything exists.
\echo Use "CREATE EXTENSION skene_gate" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;

DO $check$
DECLARE
    functions_in  name := (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                            WHERE e.extname = 'skene_gate');
BEGIN
    IF functions_in = 'skene' THEN
        RAISE EXCEPTION 'the functions of skene_gate cannot be installed into schema "skene"'
            USING ERRCODE = '3F000', DETAIL = 'That schema is made for its tables.',
                  HINT = 'Leave SCHEMA out to install into the current schema, such as public.';
    END IF;
    IF EXISTS (SELECT FROM pg_namespace WHERE nspname = 'skene') THEN
        RAISE EXCEPTION 'schema "skene" exists already'
            USING ERRCODE = '42P06', DETAIL = 'skene_gate makes a schema of this name for its tables.',
                  HINT = 'Rename or drop it.';
    END IF;
    IF getdatabaseencoding() <> 'UTF8' THEN
        RAISE EXCEPTION 'skene_gate needs a database with encoding UTF8'
            USING ERRCODE = '0A000', HINT = 'Webhooks are signed, and ids compared, as UTF-8 bytes.';
    END IF;
    IF EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) a
                WHERE n.nspname = functions_in AND a.grantee = 0 AND a.privilege_type = 'CREATE') THEN
        RAISE WARNING 'PUBLIC may create objects in schema "%"', functions_in
            USING DETAIL = 'Anybody could create a function there that is called in place of one of skene_gate''s.',
                  HINT = format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, or install into another schema.', functions_in);
    END IF;
END
$check$;

-- Owns every table and view.
CREATE SCHEMA skene;

CREATE FUNCTION skene.check_library() RETURNS void
LANGUAGE c AS 'MODULE_PATHNAME', 'skene_check_library';
COMMENT ON FUNCTION skene.check_library() IS
'Fails, naming the remedy, unless the server has loaded skene_gate and it is not older than these SQL objects';

SELECT skene.check_library();

CREATE FUNCTION skene.system_identifier() RETURNS bigint
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'skene_system_identifier';
COMMENT ON FUNCTION skene.system_identifier() IS 'Identifier of this cluster, as in its control file';

CREATE FUNCTION skene.database_oid() RETURNS oid
LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'skene_database_oid';
COMMENT ON FUNCTION skene.database_oid() IS 'OID of the current database';

CREATE FUNCTION skene.gate_time() RETURNS timestamptz
LANGUAGE c VOLATILE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'skene_gate_time';
COMMENT ON FUNCTION skene.gate_time() IS
'The time the gate goes by: clock_timestamp(), moved by skene_gate.clock_offset';

CREATE FUNCTION skene.wake_worker(reason text) RETURNS void
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'skene_wake_worker';
COMMENT ON FUNCTION skene.wake_worker(text) IS
'At commit, wake this database''s worker: reason outbox, address, probe (a provider may be asked again), or install';
