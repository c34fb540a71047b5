-- roles.sql: who may do what. Nobody but the owner gets anything here; rights are given
-- to roles of a kind by skene_grant_role.

-- The signed-in user of a browser behind PostgREST, from the verified JWT.
CREATE FUNCTION skene.jwt_user() RETURNS text
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    subject text := nullif(current_setting('request.jwt.claims', true), '')::json->>'sub';
BEGIN
    IF subject IS NULL THEN
        RAISE EXCEPTION 'nobody is signed in'
            USING ERRCODE = '28000', HINT = 'The request''s JWT must carry the customer''s id as sub.';
    END IF;
    RETURN subject;
END
$$;

CREATE FUNCTION @extschema@.skene_my_consume(feature text, amount bigint DEFAULT 1,
                                             idempotency_key text DEFAULT NULL)
RETURNS boolean LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS
$$ SELECT @extschema@.skene_consume(skene.jwt_user(), $1, $2, $3) $$;
COMMENT ON FUNCTION @extschema@.skene_my_consume(text, bigint, text) IS
'skene_consume for the customer named by sub of the request''s JWT; 28000 without one. Example: SELECT skene_my_consume(''export'')';

CREATE FUNCTION @extschema@.skene_my_check(feature text, amount bigint DEFAULT 1)
RETURNS SETOF @extschema@.skene_decision
LANGUAGE sql STABLE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS
$$ SELECT * FROM @extschema@.skene_check(skene.jwt_user(), $1, $2) $$;
COMMENT ON FUNCTION @extschema@.skene_my_check(text, bigint) IS
'skene_check for the customer named by sub of the request''s JWT; 28000 without one. Example: SELECT * FROM skene_my_check(''export'')';

CREATE FUNCTION @extschema@.skene_my_usage()
RETURNS TABLE (feature text, period text, used bigint, usage_limit bigint, remaining bigint,
               window_start timestamptz, resets_at timestamptz, plan text, entitled boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS
$$ SELECT * FROM @extschema@.skene_usage(skene.jwt_user()) $$;
COMMENT ON FUNCTION @extschema@.skene_my_usage() IS
'skene_usage for the customer named by sub of the request''s JWT; 28000 without one. Example: SELECT * FROM skene_my_usage()';

-- The table of kinds: which functions and relations each may use.
CREATE VIEW skene.role_rights (kind, object_kind, object_name) AS
SELECT kind, 'function', unnest(functions)
  FROM (VALUES
    ('app', '{skene_consume,skene_decide,skene_require,skene_refund,skene_consume_request,skene_check,skene_allows,skene_usage,skene_identify,skene_unsubscribe,skene_stripe_webhook}'::text[]),
    ('user', '{skene_my_consume,skene_my_check,skene_my_usage}'),
    ('hook', '{skene_stripe_hook,skene_unsubscribe}'),
    ('viewer', '{skene_status}'),
    ('admin', '{skene_apply,skene_set_plan,skene_override,skene_grant,skene_set_usage,skene_audit,skene_pause,skene_resume,skene_retry,skene_cancel,skene_reset,skene_preview,skene_suppress,skene_unsuppress,skene_status}')
  ) AS f (kind, functions)
UNION ALL
SELECT kind, 'relation', unnest(relations)
  FROM (VALUES
    ('viewer', '{funnel,outbox_stats,plans,features,entitlements}'::text[])
  ) AS r (kind, relations)
UNION ALL
SELECT 'backup', 'relation', c.relname::text
  FROM pg_catalog.pg_class c
 WHERE c.relnamespace = 'skene'::regnamespace AND c.relkind IN ('r', 'S');
COMMENT ON VIEW skene.role_rights IS
    'What skene_grant_role(role, kind) grants; viewer sees no personal data, backup all that pg_dump reads';

CREATE FUNCTION @extschema@.skene_grant_role(role name, kind text) RETURNS void
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    functions_in  regnamespace := (SELECT e.extnamespace FROM pg_extension e
                                    WHERE e.extname = 'skene_gate');
    granted       record;
BEGIN
    IF role IS NULL OR kind IS NULL THEN
        RAISE EXCEPTION 'role and kind must not be null' USING ERRCODE = '22004';
    END IF;
    IF NOT EXISTS (SELECT FROM skene.role_rights r WHERE r.kind = skene_grant_role.kind) THEN
        RAISE EXCEPTION 'there is no kind "%"', kind
            USING ERRCODE = '22023',
                  HINT = (SELECT 'Kinds are: ' || string_agg(DISTINCT r.kind, ', ') || '.'
                            FROM skene.role_rights r);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        RAISE EXCEPTION 'role "%" does not exist', role USING ERRCODE = '42704';
    END IF;
    IF kind IN ('app', 'admin') AND role IN ('anon', 'authenticated') THEN
        RAISE WARNING 'role "%" is reached from browsers, and may now act for any customer', role
            USING HINT = 'Browsers'' roles get the kinds user and hook.';
    END IF;
    FOR granted IN
        SELECT p.oid::regprocedure AS object
          FROM skene.role_rights r
          JOIN pg_proc p ON p.proname = r.object_name
                        AND p.pronamespace = functions_in
         WHERE r.kind = skene_grant_role.kind AND r.object_kind = 'function'
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', granted.object, role);
    END LOOP;
    FOR granted IN
        SELECT r.object_name AS object FROM skene.role_rights r
         WHERE r.kind = skene_grant_role.kind AND r.object_kind = 'relation'
    LOOP
        EXECUTE format('GRANT SELECT ON skene.%I TO %I', granted.object, role);
    END LOOP;
    IF kind IN ('viewer', 'backup') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA skene TO %I', role);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', functions_in, role);
END
$$;
COMMENT ON FUNCTION @extschema@.skene_grant_role(name, text) IS
'Give a role the rights of a kind: app (a back end), user and hook (browsers and webhooks behind PostgREST), viewer (figures without personal data), backup (pg_dump), admin. For the extension''s owner. Errors: 22023 unknown kind, 42704 unknown role. Example: SELECT skene_grant_role(''webapp'', ''app'')';
