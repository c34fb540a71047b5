-- templates.sql: the texts of e-mails, and what they may say. Values come from strangers; the C
-- function escapes them for where they stand (src/core/email*).

CREATE FUNCTION skene.render_email(sender text, recipient text, reply_to text, subject text,
                                   html text, text text, hosted_template text, variables jsonb,
                                   unsubscribe_url text, postal_address text)
RETURNS text LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'skene_render_email';
COMMENT ON FUNCTION skene.render_email(text, text, text, text, text, text, text, jsonb, text, text) IS
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
{{#unsubscribe_url}}<p style="font-size: small"><a href="{{unsubscribe_url}}">Unsubscribe</a></p>{{/unsubscribe_url}}
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
{{/product_name}}{{#unsubscribe_url}}
Unsubscribe: {{unsubscribe_url}}
{{/unsubscribe_url}}');

INSERT INTO skene.templates (template, builtin, subject, html, text) VALUES ('past_due', true,
'Your last payment failed',
'<!doctype html>
<html>
<body style="font-family: sans-serif; line-height: 1.5; max-width: 36em; margin: 2em auto">
<p>Hello{{#name}} {{name}}{{/name}},</p>
<p>Your last payment failed, so <b>{{feature}}</b> is limited to what the {{plan}} plan includes.</p>
{{#billing_url}}<p><a href="{{billing_url}}" style="background: #1a56db; color: #fff; padding: .6em 1.2em; border-radius: .3em; text-decoration: none">Update your card</a></p>{{/billing_url}}
{{#product_name}}<p>{{product_name}}</p>{{/product_name}}
</body>
</html>
',
'Hello{{#name}} {{name}}{{/name}},

Your last payment failed, so {{feature}} is limited to what the {{plan}} plan includes.
{{#billing_url}}
Update your card: {{billing_url}}
{{/billing_url}}{{#product_name}}
{{product_name}}
{{/product_name}}');

INSERT INTO skene.templates (template, builtin, subject, html, text) VALUES ('limit_warning', true,
'You have used {{used}} of {{usage_limit}} units of {{feature}}',
'<!doctype html>
<html>
<body style="font-family: sans-serif; line-height: 1.5; max-width: 36em; margin: 2em auto">
<p>Hello{{#name}} {{name}}{{/name}},</p>
<p>You have used {{used}} of the {{usage_limit}} units of <b>{{feature}}</b> that your <b>{{plan}}</b> plan includes{{#resets_at}}; the next ones are there on {{resets_at}}{{/resets_at}}.</p>
{{#upgrade_plan}}{{#upgrade_url}}<p><a href="{{upgrade_url}}">Plan {{upgrade_plan}} includes more.</a></p>{{/upgrade_url}}{{/upgrade_plan}}
{{#product_name}}<p>{{product_name}}</p>{{/product_name}}
</body>
</html>
',
'Hello{{#name}} {{name}}{{/name}},

You have used {{used}} of the {{usage_limit}} units of {{feature}} that your {{plan}} plan includes{{#resets_at}}; the next ones are there on {{resets_at}}{{/resets_at}}.
{{#upgrade_plan}}{{#upgrade_url}}
Plan {{upgrade_plan}} includes more: {{upgrade_url}}
{{/upgrade_url}}{{/upgrade_plan}}{{#product_name}}
{{product_name}}
{{/product_name}}');

-- The next plan that gives a customer more of the prompt's feature, null at the top.
CREATE FUNCTION skene.upgrade_plan(prompt skene.prompts) RETURNS text
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT u.plan
          FROM skene.features f
          JOIN skene.entitlements g ON g.feature = f.feature AND g.period = f.period
          JOIN skene.plans u ON u.plan = g.plan
          LEFT JOIN skene.plans p ON p.plan = $1.plan
          LEFT JOIN skene.entitlements e
                 ON e.plan = $1.plan AND e.feature = f.feature AND e.period = f.period
          LEFT JOIN skene.overrides o
                 ON o.user_id = $1.user_id AND o.feature = f.feature
                AND (o.expires_at IS NULL OR o.expires_at > skene.gate_time())
         WHERE f.feature = $1.feature AND u.rank > coalesce(p.rank, 0)
           AND (g.usage_limit IS NULL OR g.usage_limit > coalesce(o.usage_limit, e.usage_limit, 0))
         ORDER BY u.rank, u.plan LIMIT 1);
END
$$;
COMMENT ON FUNCTION skene.upgrade_plan(skene.prompts) IS
    'The lowest plan above a prompt''s that gives more of its feature; null when none does';

-- What the templates may use, for one prompt.
CREATE FUNCTION skene.prompt_variables(prompt skene.prompts) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT jsonb_build_object(
            'user_id', $1.user_id, 'name', c.name, 'email', c.email, 'feature', $1.feature,
            'plan', $1.plan, 'denials', $1.denials,
            'used', coalesce((SELECT t.used FROM skene.usage_totals t
                               WHERE t.user_id = $1.user_id AND t.feature = $1.feature
                                 AND t.period = $1.period AND t.window_start = $1.window_start), 0),
            'usage_limit', coalesce(o.usage_limit, e.usage_limit, 0),
            'resets_at', CASE WHEN isfinite($1.window_end) THEN
                to_char($1.window_end AT TIME ZONE
                        coalesce(c.time_zone, skene.setting('timeZone'), 'UTC'),
                        'FMDD FMMonth YYYY') END,
            'message', coalesce(f.message, CASE $1.kind
                WHEN 'not_entitled' THEN 'Your plan does not include this feature.'
                WHEN 'past_due' THEN 'Your last payment failed.'
                ELSE 'You have reached the limit of your plan.' END),
            'upgrade_plan', skene.upgrade_plan($1),
            'upgrade_url', skene.setting('upgradeUrl'),
            'billing_url', coalesce(skene.setting('billingUrl'), skene.setting('upgradeUrl')),
            'unsubscribe_url', skene.unsubscribe_url(c),
            'product_name', skene.setting('productName'))
          FROM (SELECT) AS one
          LEFT JOIN skene.customers c ON c.user_id = $1.user_id
          LEFT JOIN skene.features f ON f.feature = $1.feature
          LEFT JOIN skene.entitlements e
                 ON e.plan = $1.plan AND e.feature = $1.feature AND e.period = $1.period
          LEFT JOIN skene.overrides o
                 ON o.user_id = $1.user_id AND o.feature = $1.feature
                AND (o.expires_at IS NULL OR o.expires_at > skene.gate_time()));
END
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
                                       template.html, template.text, NULL, variables, NULL, NULL);
        EXCEPTION WHEN invalid_parameter_value THEN
            RAISE EXCEPTION 'template "%" cannot be rendered', template.template
                USING ERRCODE = '22023', DETAIL = 'Problem in ' || SQLERRM || '.';
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION skene.check_templates(jsonb) IS
'Fails with 22023 for canonical rows of templates that have unknown variables or unclosed sections';
