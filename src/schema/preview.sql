-- preview.sql: what a customer would be sent, rendered as it would be, and neither sent nor
-- written down.

-- The prompt that a denial now would make.
CREATE FUNCTION skene.imagined_prompt(user_id text, feature text) RETURNS skene.prompts
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT ROW(NULL, $1, $2, u.period, u.window_start, coalesce(u.resets_at, 'infinity'),
               CASE WHEN EXISTS (SELECT FROM skene.subscriptions s
                                  WHERE s.user_id = $1 AND s.status = 'past_due')
                         AND NOT EXISTS (SELECT FROM skene.customer_plans p WHERE p.user_id = $1)
                    THEN 'past_due'
                    WHEN u.entitled THEN 'limit_reached' ELSE 'not_entitled' END,
               'new', 1, skene.gate_time(), skene.gate_time(), u.plan, NULL, skene.gate_time())::skene.prompts
      FROM @extschema@.skene_usage($1) u WHERE u.feature = $2
$$;
COMMENT ON FUNCTION skene.imagined_prompt(text, text) IS 'The prompt a denial now would make';

CREATE FUNCTION @extschema@.skene_preview(user_id text, feature text)
RETURNS TABLE (step integer, sender text, recipient text, subject text, html text, text text, category text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    prompt   skene.prompts;
    address  text;
BEGIN
    PERFORM skene.check_user_id($1);
    PERFORM skene.check_feature($2);
    prompt := skene.imagined_prompt($1, $2);
    SELECT c.email INTO address FROM skene.customers c WHERE c.user_id = $1;
    RETURN QUERY
        SELECT s.step, m.body->>'from', address, m.body->>'subject', m.body->>'html', m.body->>'text', s.category
          FROM skene.prompt_steps(prompt) s,
               LATERAL (SELECT skene.render_prompt(prompt, s.template, coalesce(address, 'nobody@example.com'))::jsonb)
                    AS m (body)
         ORDER BY s.step;
END
$$;
COMMENT ON FUNCTION @extschema@.skene_preview(text, text) IS
'The e-mails that a customer would be sent if it were denied a feature now: a row for each step of the sequence, none if the feature asks for no prompt. Nothing is sent or written; recipient is null for a customer without address; texts of a template hosted at Resend are null. Errors: 22004 null, 42704 unknown feature, 22023 bad id or template. Example: SELECT step, subject, text FROM skene_preview(''u1'', ''export'')';

CREATE FUNCTION @extschema@.skene_preview(user_uuid uuid, feature text)
RETURNS TABLE (step integer, sender text, recipient text, subject text, html text, text text, category text)
LANGUAGE sql STABLE BEGIN ATOMIC SELECT * FROM @extschema@.skene_preview($1::text, $2); END;
COMMENT ON FUNCTION @extschema@.skene_preview(uuid, text) IS
'skene_preview for uuid ids. Example: SELECT p.* FROM users, skene_preview(users.id, ''export'') p';

CREATE FUNCTION @extschema@.skene_preview(user_bigint bigint, feature text)
RETURNS TABLE (step integer, sender text, recipient text, subject text, html text, text text, category text)
LANGUAGE sql STABLE BEGIN ATOMIC SELECT * FROM @extschema@.skene_preview($1::text, $2); END;
COMMENT ON FUNCTION @extschema@.skene_preview(bigint, text) IS
'skene_preview for bigint ids. Example: SELECT p.* FROM users, skene_preview(users.id, ''export'') p';
