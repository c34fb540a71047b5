-- prompts.sql: from the note of a denial to an e-mail in the outbox. The worker calls
-- write_prompt in a transaction of its own, so the caller's rollback cannot undo it.

CREATE FUNCTION skene.render_email(sender text, recipient text, reply_to text, subject text,
                                   html text, text text, hosted_template text, variables jsonb)
RETURNS text LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'skene_render_email';
COMMENT ON FUNCTION skene.render_email(text, text, text, text, text, text, text, jsonb) IS
'The body of Resend''s POST /emails for a template and its variables; 22023 when the template is at fault';

INSERT INTO skene.templates (template, builtin, subject, html, text) VALUES ('upgrade_prompt', true,
'You have reached your {{feature}} limit',
'<!doctype html>
<html>
<body style="font-family: sans-serif; line-height: 1.5; max-width: 36em; margin: 2em auto">
<p>Hello{{#name}} {{name}}{{/name}},</p>
<p>{{message}}</p>
<p>Your <b>{{plan}}</b> plan includes {{usage_limit}} units of <b>{{feature}}</b>{{#resets_at}}; the next ones are there on {{resets_at}}{{/resets_at}}.</p>
{{#upgrade_url}}<p><a href="{{upgrade_url}}" style="background: #1a56db; color: #fff; padding: .6em 1.2em; border-radius: .3em; text-decoration: none">Upgrade{{#upgrade_plan}} to {{upgrade_plan}}{{/upgrade_plan}}</a></p>{{/upgrade_url}}
{{#product_name}}<p>{{product_name}}</p>{{/product_name}}
</body>
</html>
',
'Hello{{#name}} {{name}}{{/name}},

{{message}}

Your {{plan}} plan includes {{usage_limit}} units of {{feature}}{{#resets_at}}; the next ones are there on {{resets_at}}{{/resets_at}}.
{{#upgrade_url}}
Upgrade{{#upgrade_plan}} to {{upgrade_plan}}{{/upgrade_plan}}: {{upgrade_url}}
{{/upgrade_url}}{{#product_name}}
{{product_name}}
{{/product_name}}');

-- What the templates may use, for one prompt.
CREATE FUNCTION skene.prompt_variables(prompt skene.prompts) RETURNS jsonb
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object(
        'user_id', $1.user_id, 'name', c.name, 'email', c.email, 'feature', $1.feature,
        'plan', $1.plan, 'denials', $1.denials,
        'usage_limit', coalesce(o.usage_limit, e.usage_limit, 0),
        'resets_at', CASE WHEN isfinite($1.window_end) THEN
            to_char($1.window_end AT TIME ZONE
                    coalesce(c.time_zone, (SELECT value FROM skene.settings WHERE name = 'timeZone'), 'UTC'),
                    'FMDD FMMonth YYYY') END,
        'message', coalesce(f.message, CASE $1.kind
            WHEN 'not_entitled' THEN 'Your plan does not include this feature.'
            WHEN 'past_due' THEN 'Your last payment failed.'
            ELSE 'You have reached the limit of your plan.' END),
        'upgrade_plan', (SELECT u.plan FROM skene.plans u JOIN skene.entitlements g ON g.plan = u.plan
                          WHERE g.feature = $1.feature AND u.rank > coalesce(p.rank, 0)
                            AND (g.usage_limit IS NULL OR g.usage_limit > coalesce(e.usage_limit, 0))
                          ORDER BY u.rank, u.plan LIMIT 1),
        'upgrade_url', (SELECT value FROM skene.settings WHERE name = 'upgradeUrl'),
        'product_name', (SELECT value FROM skene.settings WHERE name = 'productName'))
      FROM (SELECT) AS one
      LEFT JOIN skene.customers c ON c.user_id = $1.user_id
      LEFT JOIN skene.features f ON f.feature = $1.feature
      LEFT JOIN skene.plans p ON p.plan = $1.plan
      LEFT JOIN skene.entitlements e
             ON e.plan = $1.plan AND e.feature = $1.feature AND e.period = $1.period
      LEFT JOIN skene.overrides o
             ON o.user_id = $1.user_id AND o.feature = $1.feature
            AND (o.expires_at IS NULL OR o.expires_at > skene.gate_time())
$$;
COMMENT ON FUNCTION skene.prompt_variables(skene.prompts) IS 'Values of the {{variables}} of a prompt''s e-mail';

-- Refuse templates that no prompt could be rendered with. Every variable has a value here
-- that may stand for any of them.
CREATE FUNCTION skene.check_templates(templates jsonb) RETURNS void
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    template   skene.templates;
    variables  jsonb := (SELECT jsonb_object_agg(name, 'https://example.com')
                           FROM jsonb_object_keys(skene.prompt_variables(NULL)) name);
BEGIN
    FOR template IN SELECT * FROM jsonb_populate_recordset(NULL::skene.templates, templates)
    LOOP
        BEGIN
            PERFORM skene.render_email('a@example.com', 'a@example.com', NULL, template.subject,
                                       template.html, template.text, NULL, variables);
        EXCEPTION WHEN invalid_parameter_value THEN
            RAISE EXCEPTION 'template "%" cannot be rendered', template.template
                USING ERRCODE = '22023', DETAIL = 'Problem in ' || SQLERRM || '.';
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION skene.check_templates(jsonb) IS
'Fails with 22023 for canonical rows of templates that have unknown variables or unclosed sections';

-- Render a new prompt into the outbox, or say in its state why there is no e-mail.
CREATE FUNCTION skene.enqueue_prompt() RETURNS trigger
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    address    text;
    wanted     record;
    template   skene.templates;
    hosted     text;
    body       text;
    new_state  text := 'queued';
    problem    text;
BEGIN
    SELECT c.email INTO address FROM skene.customers c WHERE c.user_id = NEW.user_id;
    SELECT f.prompt_provider, f.prompt_template INTO wanted
      FROM skene.features f WHERE f.feature = NEW.feature;

    IF wanted.prompt_provider IS NULL THEN
        new_state := 'suppressed';
        problem := 'the feature asks for no prompt';
    ELSIF address IS NULL THEN
        new_state := 'no_address';
        problem := 'the customer has no e-mail address; skene_identify() adds one';
    ELSE
        BEGIN
            IF wanted.prompt_template LIKE 'resend:%' THEN
                hosted := substr(wanted.prompt_template, 8);
            ELSE
                SELECT * INTO template FROM skene.templates t
                 WHERE t.template = wanted.prompt_template
                 ORDER BY t.builtin, t.locale <> '' LIMIT 1;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'template "%" does not exist', wanted.prompt_template;
                END IF;
            END IF;
            body := skene.render_email(
                coalesce((SELECT value FROM skene.settings WHERE name = 'emailFrom'),
                         'skene_gate <onboarding@resend.dev>'),
                address, (SELECT value FROM skene.settings WHERE name = 'replyTo'),
                template.subject, template.html, template.text, hosted,
                skene.prompt_variables(NEW));
            INSERT INTO skene.outbox (provider, path, body, idempotency_key, user_id, prompt_id)
            VALUES (wanted.prompt_provider, '/emails', body, 'skene-' || gen_random_uuid(),
                    NEW.user_id, NEW.prompt_id);
        EXCEPTION WHEN OTHERS THEN
            new_state := 'failed';
            problem := SQLERRM;
        END;
    END IF;
    UPDATE skene.prompts SET state = new_state, error = problem WHERE prompt_id = NEW.prompt_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION skene.enqueue_prompt() IS 'Renders a prompt in state new into the outbox';

-- Only rows in state new: rows that pg_restore or replication brings have left it.
CREATE TRIGGER enqueue_prompt AFTER INSERT OR UPDATE OF state ON skene.prompts
    FOR EACH ROW WHEN (NEW.state = 'new') EXECUTE FUNCTION skene.enqueue_prompt();

-- Denied transactions may have been the first to speak of a customer, and roll back; a
-- prompt for somebody who never came to be would be noise, in tests as in production.
CREATE FUNCTION skene.customer_exists(user_id text) RETURNS boolean
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM skene.customers c WHERE c.user_id = $1)
        OR EXISTS (SELECT FROM skene.usage u WHERE u.user_id = $1)
        OR EXISTS (SELECT FROM skene.usage_events e WHERE e.user_id = $1)
        OR EXISTS (SELECT FROM skene.subscriptions s WHERE s.user_id = $1)
        OR EXISTS (SELECT FROM skene.overrides o WHERE o.user_id = $1)
$$;
COMMENT ON FUNCTION skene.customer_exists(text) IS
    'Is there a committed row of this customer: identified, counted, subscribed or overridden?';

CREATE FUNCTION skene.write_prompt(user_id text, feature text, period text, window_start timestamptz,
                                   window_end timestamptz, kind text, plan text, denials bigint,
                                   first_denied_at timestamptz, last_denied_at timestamptz)
RETURNS boolean LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    known bigint;
BEGIN
    IF NOT skene.customer_exists($1) THEN
        RETURN NULL;
    END IF;
    -- Windows of one counter overlap only when the customer's anchor was not the same: it
    -- is set by a first use, which may roll back. That is no reason to ask again.
    SELECT o.prompt_id INTO known FROM skene.prompts o
     WHERE o.user_id = $1 AND o.feature = $2 AND o.period = $3 AND o.kind = $6
       AND o.window_start < $5 AND o.window_end > $4
     ORDER BY o.window_start DESC LIMIT 1;
    IF known IS NULL THEN
        INSERT INTO skene.prompts (user_id, feature, period, window_start, window_end, kind, plan,
                                   denials, first_denied_at, last_denied_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);
        RETURN true;
    END IF;
    UPDATE skene.prompts p
       SET denials = p.denials + $8, last_denied_at = greatest(p.last_denied_at, $10)
     WHERE p.prompt_id = (SELECT o.prompt_id FROM skene.prompts o
                           WHERE o.prompt_id = known FOR UPDATE SKIP LOCKED);
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION skene.write_prompt(text, text, text, timestamptz, timestamptz, text, text, bigint, timestamptz, timestamptz) IS
    'Add denials to a window''s prompt; the first ones create it. Nothing is written and the answer is null while the customer does not exist, false while somebody has the prompt locked';

-- Customers whose address came after the prompt, while its window lasts.
CREATE FUNCTION skene.readdress_prompts() RETURNS void
LANGUAGE sql SET search_path TO pg_catalog, pg_temp AS $$
    UPDATE skene.prompts p SET state = 'new', error = NULL
      FROM skene.customers c
     WHERE p.state = 'no_address' AND c.user_id = p.user_id AND c.email IS NOT NULL
       AND p.window_end > skene.gate_time()
$$;
COMMENT ON FUNCTION skene.readdress_prompts() IS 'Sends prompts whose customer has got an address';
