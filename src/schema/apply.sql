-- apply.sql: the configuration document becomes rows. The C function parses the text
-- (src/core/config*), this one merges the canonical rows. Equal documents write
-- nothing and take no lock that blocks anybody.

CREATE FUNCTION skene.parse_config(config text) RETURNS jsonb
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'skene_parse_config';
COMMENT ON FUNCTION skene.parse_config(text) IS
'A configuration document as canonical rows; 22023 with line and column when it is wrong';

CREATE FUNCTION skene.valid_time_zone(zone text) RETURNS boolean
LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'skene_valid_time_zone';
COMMENT ON FUNCTION skene.valid_time_zone(text) IS
'Can windows be counted in this zone? Not in what AT TIME ZONE knows only as an abbreviation';

-- A document that declares no plans was given free and paid. Where the database has plans
-- of its own it means those, and its tier paid all of them but the default one.
CREATE FUNCTION skene.fit_plans(document jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    fitted jsonb;
BEGIN
    IF NOT (document->>'plans_implied')::boolean OR NOT EXISTS (SELECT FROM skene.plans) THEN
        RETURN document;
    END IF;
    SELECT jsonb_agg(tier.entitlement || jsonb_build_object('plan', tier.plan))
      INTO fitted
      FROM (SELECT e AS entitlement, coalesce(p.plan, e->>'plan') AS plan,
                   row_number() OVER (PARTITION BY e->>'feature', coalesce(p.plan, e->>'plan')
                                      ORDER BY e->>'plan' = 'paid') AS priority
              FROM jsonb_array_elements(document->'entitlements') e
              LEFT JOIN skene.plans p
                     ON e->>'plan' = 'paid' AND NOT p.is_default
                    AND NOT EXISTS (SELECT FROM skene.plans o WHERE o.plan = 'paid')) AS tier
     WHERE tier.priority = 1;
    PERFORM skene.check_plan(e->>'plan') FROM jsonb_array_elements(fitted) e;
    RETURN document || jsonb_build_object('plans', '[]'::jsonb,
                                          'entitlements', coalesce(fitted, '[]'));
END
$$;
COMMENT ON FUNCTION skene.fit_plans(jsonb) IS
'A document without plans, made to speak of the plans that the database has';

-- What a document changes: rows of the document against rows of the tables.
CREATE FUNCTION skene.config_differences(document jsonb, prune boolean)
RETURNS TABLE (object text, name text, action text, old_value jsonb, new_value jsonb)
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    WITH wanted (object, name, value) AS (
        SELECT 'plan', r->>'plan', r FROM jsonb_array_elements($1->'plans') r
        UNION ALL
        SELECT 'feature', r->>'feature', r FROM jsonb_array_elements($1->'features') r
        UNION ALL
        SELECT 'entitlement', concat_ws(' ', r->>'plan', r->>'feature', r->>'period'), r
          FROM jsonb_array_elements($1->'entitlements') r
        UNION ALL
        SELECT 'template', concat_ws(' ', r->>'template', nullif(r->>'locale', '')), r
          FROM jsonb_array_elements($1->'templates') r
        UNION ALL
        SELECT 'setting', r->>'name', r FROM jsonb_array_elements($1->'settings') r
    ), stored (object, name, value) AS (
        SELECT 'plan', p.plan, to_jsonb(p) FROM skene.plans p
        UNION ALL
        SELECT 'feature', f.feature, to_jsonb(f) FROM skene.features f
        UNION ALL
        SELECT 'entitlement', concat_ws(' ', e.plan, e.feature, e.period), to_jsonb(e)
          FROM skene.entitlements e
        UNION ALL
        SELECT 'template', concat_ws(' ', t.template, nullif(t.locale, '')), to_jsonb(t) - 'builtin'
          FROM skene.templates t WHERE NOT t.builtin
        UNION ALL
        SELECT 'setting', s.name, to_jsonb(s) FROM skene.settings s
    )
    SELECT object, name,
           CASE WHEN s.value IS NULL THEN 'create' WHEN w.value IS NULL THEN 'remove' ELSE 'change' END,
           s.value, w.value
      FROM wanted w FULL JOIN stored s USING (object, name)
     WHERE s.value IS DISTINCT FROM w.value
       AND (w.value IS NOT NULL
            OR $2
            -- a feature of the document lists all its entitlements
            OR (object = 'entitlement'
                AND s.value->>'feature' IN (SELECT r->>'feature'
                                              FROM jsonb_array_elements($1->'features') r)))
     ORDER BY array_position('{plan,feature,entitlement,template,setting}'::text[], object),
              name COLLATE "C"
$$;

CREATE FUNCTION @extschema@.skene_apply(config text, prune boolean DEFAULT false,
                                        dry_run boolean DEFAULT false)
RETURNS TABLE (object text, name text, action text, old_value jsonb, new_value jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    parsed     jsonb;
    document   jsonb;
    undeclared text;
    time_zone  text;
    removed    jsonb;
    wanted     jsonb;
BEGIN
    IF config IS NULL OR prune IS NULL OR dry_run IS NULL THEN
        RAISE EXCEPTION 'arguments of skene_apply must not be null' USING ERRCODE = '22004';
    END IF;
    parsed := skene.parse_config(config);
    document := CASE WHEN prune THEN parsed ELSE skene.fit_plans(parsed) END;
    -- where the document's plans are free and paid; those of the database have been checked
    FOR undeclared IN
        SELECT e->>'plan' FROM jsonb_array_elements(document->'entitlements') e
         WHERE document->'plans' <> '[]'
        EXCEPT SELECT p->>'plan' FROM jsonb_array_elements(document->'plans') p
         ORDER BY 1
    LOOP
        RAISE WARNING 'plan "%" is not declared in this document', undeclared
            USING HINT = 'Without "plans" a document speaks of the database''s plans; in a database without any, and with prune, it gets free and paid.';
    END LOOP;
    SELECT r->>'value' INTO time_zone FROM jsonb_array_elements(document->'settings') r
     WHERE r->>'name' = 'timeZone';
    IF NOT skene.valid_time_zone(time_zone) THEN
        RAISE EXCEPTION 'time zone "%" does not exist', time_zone
            USING ERRCODE = '22023',
                  HINT = 'Name a zone of pg_timezone_names, such as Europe/Berlin; abbreviations are not enough.';
    END IF;

    IF NOT EXISTS (SELECT FROM skene.config_differences(document, prune)) THEN
        RETURN;
    END IF;
    PERFORM skene.check_templates(document->'templates');
    IF NOT dry_run THEN
        -- writers of configuration one after the other; readers are not blocked
        LOCK TABLE skene.plans IN SHARE ROW EXCLUSIVE MODE;
        -- the one before us may have brought the first plans
        document := CASE WHEN prune THEN parsed ELSE skene.fit_plans(parsed) END;
    END IF;
    SELECT jsonb_agg(d) FILTER (WHERE d.action = 'remove'),
           jsonb_agg(d) FILTER (WHERE d.action <> 'remove')
      INTO removed, wanted
      FROM skene.config_differences(document, prune) d;
    removed := coalesce(removed, '[]');
    wanted := coalesce(wanted, '[]');

    RETURN QUERY
        SELECT d.object, d.name, d.action, nullif(d.old_value, 'null'), nullif(d.new_value, 'null')
          FROM jsonb_to_recordset(removed || wanted)
               AS d (object text, name text, action text, old_value jsonb, new_value jsonb);
    IF dry_run THEN
        RETURN;
    END IF;

    DELETE FROM skene.entitlements e USING jsonb_array_elements(removed) d
     WHERE d->>'object' = 'entitlement' AND e.plan = d->'old_value'->>'plan'
       AND e.feature = d->'old_value'->>'feature' AND e.period = d->'old_value'->>'period';
    DELETE FROM skene.features f USING jsonb_array_elements(removed) d
     WHERE d->>'object' = 'feature' AND f.feature = d->>'name';
    DELETE FROM skene.plans p USING jsonb_array_elements(removed) d
     WHERE d->>'object' = 'plan' AND p.plan = d->>'name';
    DELETE FROM skene.templates t USING jsonb_array_elements(removed) d
     WHERE d->>'object' = 'template' AND NOT t.builtin
       AND t.template = d->'old_value'->>'template' AND t.locale = d->'old_value'->>'locale';
    DELETE FROM skene.settings s USING jsonb_array_elements(removed) d
     WHERE d->>'object' = 'setting' AND s.name = d->>'name';

    -- the default plan may move from one row to another
    UPDATE skene.plans p SET is_default = false
      FROM jsonb_array_elements(wanted) d
     WHERE d->>'object' = 'plan' AND (d->'new_value'->>'is_default')::boolean
       AND p.is_default AND p.plan <> d->>'name';
    INSERT INTO skene.plans (plan, rank, is_default, prices)
    SELECT r.plan, r.rank, r.is_default, r.prices
      FROM jsonb_array_elements(wanted) d, jsonb_populate_record(NULL::skene.plans, d->'new_value') r
     WHERE d->>'object' = 'plan'
    ON CONFLICT (plan) DO UPDATE
       SET rank = excluded.rank, is_default = excluded.is_default, prices = excluded.prices;
    INSERT INTO skene.features
    SELECT r.*
      FROM jsonb_array_elements(wanted) d, jsonb_populate_record(NULL::skene.features, d->'new_value') r
     WHERE d->>'object' = 'feature'
    ON CONFLICT (feature) DO UPDATE
       SET period = excluded.period, endpoints = excluded.endpoints, warn_at = excluded.warn_at,
           message = excluded.message, prompt_provider = excluded.prompt_provider,
           prompt_template = excluded.prompt_template, prompt_on = excluded.prompt_on,
           prompt_sequence = excluded.prompt_sequence;
    INSERT INTO skene.entitlements
    SELECT r.*
      FROM jsonb_array_elements(wanted) d,
           jsonb_populate_record(NULL::skene.entitlements, d->'new_value') r
     WHERE d->>'object' = 'entitlement'
    ON CONFLICT (plan, feature, period) DO UPDATE SET usage_limit = excluded.usage_limit;
    INSERT INTO skene.templates (template, locale, builtin, subject, html, text)
    SELECT r.template, r.locale, false, r.subject, r.html, r.text
      FROM jsonb_array_elements(wanted) d, jsonb_populate_record(NULL::skene.templates, d->'new_value') r
     WHERE d->>'object' = 'template'
    ON CONFLICT (template, locale, builtin) DO UPDATE
       SET subject = excluded.subject, html = excluded.html, text = excluded.text;
    INSERT INTO skene.settings
    SELECT r.*
      FROM jsonb_array_elements(wanted) d, jsonb_populate_record(NULL::skene.settings, d->'new_value') r
     WHERE d->>'object' = 'setting'
    ON CONFLICT (name) DO UPDATE SET value = excluded.value;

    -- prices may mean another plan now
    UPDATE skene.subscriptions s SET plan = skene.plan_for_prices(s.prices)
     WHERE s.source = 'stripe' AND s.plan IS DISTINCT FROM skene.plan_for_prices(s.prices);
END
$$;
COMMENT ON FUNCTION @extschema@.skene_apply(text, boolean, boolean) IS
'Merge a configuration document, JSON or TypeScript, into the configuration and return what changes. Nothing is removed unless prune is true, except entitlements of a feature that the document names; dry_run only returns. An unchanged document writes nothing. Errors: 22023 with line and column. Example: SELECT * FROM skene_apply(''{"features": {"export": {"limit": {"free": 5, "paid": null}, "period": "30d"}}}'')';

CREATE FUNCTION skene.setting(name text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT s.value FROM skene.settings s WHERE s.name = $1);
END
$$;
COMMENT ON FUNCTION skene.setting(text) IS 'A setting of the configuration document, null without';
