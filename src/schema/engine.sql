-- engine.sql: what keeps the engine's shared memory true to the tables (see src/engine),
-- the fold, and views into it.

CREATE FUNCTION skene.note_customer_change() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'skene_note_customer_change';
COMMENT ON FUNCTION skene.note_customer_change() IS
'At commit, have what is resolved for the row''s customer resolved anew';

CREATE FUNCTION skene.note_configuration_change() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'skene_note_configuration_change';
COMMENT ON FUNCTION skene.note_configuration_change() IS
'At commit, have what is resolved for any customer resolved anew';

CREATE FUNCTION skene.guard_usage() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'skene_guard_usage';
COMMENT ON FUNCTION skene.guard_usage() IS
'Lock out everybody who counts, and at commit have all counters read anew: for changes of usage by hand';

-- ENABLE ALWAYS: also for what logical replication applies, which fires row triggers only.
-- Others meet the guard before their statement locks a row: the fold locks usage_events
-- first and rows after it.
DO $triggers$
DECLARE
    watched text;
BEGIN
    FOREACH watched IN ARRAY '{plans,features,entitlements,settings}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON skene.%I
                        FOR EACH ROW EXECUTE FUNCTION skene.note_configuration_change()', watched);
    END LOOP;
    FOREACH watched IN ARRAY '{subscriptions,overrides,grants}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON skene.%I
                        FOR EACH ROW EXECUTE FUNCTION skene.note_customer_change()', watched);
    END LOOP;
    CREATE TRIGGER note_change AFTER INSERT OR UPDATE OF user_id, anchor OR DELETE ON skene.customers
        FOR EACH ROW EXECUTE FUNCTION skene.note_customer_change();
    FOREACH watched IN ARRAY '{plans,features,entitlements,settings,subscriptions,overrides,grants,customers}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER note_truncate AFTER TRUNCATE ON skene.%I
                        EXECUTE FUNCTION skene.note_configuration_change()', watched);
        EXECUTE format('ALTER TABLE skene.%I ENABLE ALWAYS TRIGGER note_change', watched);
        EXECUTE format('ALTER TABLE skene.%I ENABLE ALWAYS TRIGGER note_truncate', watched);
    END LOOP;
    FOREACH watched IN ARRAY '{usage,usage_events}'::text[] LOOP
        EXECUTE format('CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON skene.%I
                        FOR EACH ROW EXECUTE FUNCTION skene.guard_usage()', watched);
        EXECUTE format('CREATE TRIGGER guard_statement BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON skene.%I
                        EXECUTE FUNCTION skene.guard_usage()', watched);
        EXECUTE format('ALTER TABLE skene.%I ENABLE ALWAYS TRIGGER guard', watched);
        EXECUTE format('ALTER TABLE skene.%I ENABLE ALWAYS TRIGGER guard_statement', watched);
    END LOOP;
END
$triggers$;

CREATE FUNCTION skene.agree_on_anchor(user_id text, proposed timestamptz) RETURNS timestamptz
LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'skene_agree_on_anchor';
COMMENT ON FUNCTION skene.agree_on_anchor(text, timestamptz) IS
'Where a customer''s windows of a fixed number of days are counted from: known, or proposed here';

CREATE FUNCTION skene.cached_windows(OUT user_id text, OUT feature text, OUT period text,
        OUT window_start timestamptz, OUT window_end timestamptz, OUT lo bigint, OUT hi bigint,
        OUT in_flight integer, OUT hits bigint, OUT waits bigint, OUT denials bigint)
RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'skene_cached_windows';
COMMENT ON FUNCTION skene.cached_windows() IS 'This database''s windows in shared memory';

CREATE VIEW skene.windows AS SELECT * FROM skene.cached_windows();
COMMENT ON VIEW skene.windows IS
    'Windows in shared memory: whatever the calls in flight do, between lo and hi units will be used';

CREATE FUNCTION skene.window_stats(OUT windows bigint, OUT max_windows bigint, OUT hits bigint,
        OUT misses bigint, OUT loads bigint, OUT evictions bigint, OUT waits bigint,
        OUT denials bigint, OUT reservations bigint, OUT max_reservations bigint)
RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'skene_window_stats';
COMMENT ON FUNCTION skene.window_stats() IS
'One row: misses, loads and evictions of all databases since the server started; windows, hits, waits and denials of this database''s windows that are there now';

CREATE FUNCTION skene.audit_windows(OUT user_id text, OUT feature text, OUT period text,
        OUT window_start timestamptz, OUT lo bigint, OUT counted bigint, OUT hi bigint)
RETURNS SETOF record LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'skene_audit_windows';
COMMENT ON FUNCTION skene.audit_windows() IS
'Windows whose counter in shared memory cannot be what the tables say';

CREATE FUNCTION @extschema@.skene_audit(OUT user_id text, OUT feature text, OUT period text,
        OUT window_start timestamptz, OUT lo bigint, OUT counted bigint, OUT hi bigint)
RETURNS SETOF record LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS
$$ SELECT * FROM skene.audit_windows() $$;
COMMENT ON FUNCTION @extschema@.skene_audit() IS
'Compare counters in shared memory with the tables while traffic runs: returns the windows that disagree, none when all is well. counted must lie between lo and hi. Example: SELECT * FROM skene_audit()';
