-- mail.sql: from a prompt to rows of the outbox, and whether they may still go when they are
-- leased. Bytes and key of a row freeze with its first attempt: until then it may be rendered
-- anew, for nobody has seen it. What is called for each prompt is plpgsql, here and beside: it
-- keeps its plans, where an SQL function is planned at each call.

-- Whoever owes a payment is asked for it, in words of its own, and never to upgrade; a warning
-- comes before there is anything to ask for. The first message answers what the customer has
-- just done, later ones are marketing. Days are of 24 hours, as those of windows.
CREATE FUNCTION skene.prompt_steps(prompt skene.prompts)
RETURNS TABLE (step integer, after interval, template text, category text)
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT m.place::integer, make_interval(hours => 24 * rtrim(m.step->>'after', 'd')::integer),
               m.step->>'template', CASE m.place WHEN 1 THEN 'transactional' ELSE 'marketing' END
          FROM skene.features f,
               jsonb_array_elements(CASE
                   WHEN $1.kind = 'past_due' THEN '[{"after": "0", "template": "past_due"}]'
                   WHEN $1.kind = 'warning' THEN '[{"after": "0", "template": "limit_warning"}]'
                   ELSE coalesce(f.prompt_sequence,
                                 jsonb_build_array(jsonb_build_object('after', '0', 'template', f.prompt_template)))
               END) WITH ORDINALITY AS m (step, place)
         WHERE f.feature = $1.feature AND f.prompt_provider IS NOT NULL;
END
$$;
COMMENT ON FUNCTION skene.prompt_steps(skene.prompts) IS
    'The messages of a prompt: how long after it, and from which template; none when its feature asks for no prompt';

CREATE FUNCTION skene.render_prompt(prompt skene.prompts, wanted text, recipient text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    template   skene.templates;
    hosted     text;
    variables  jsonb := skene.prompt_variables(prompt);
BEGIN
    IF wanted LIKE 'resend:%' THEN
        hosted := substr(wanted, 8);
    ELSE
        -- our own before the built-in one; then de-AT, de, and the one for all
        SELECT t.* INTO template FROM skene.templates t
          LEFT JOIN skene.customers c ON c.user_id = prompt.user_id
         WHERE t.template = wanted
           AND (t.locale = ''
                OR starts_with(lower(replace(c.locale, '_', '-')) || '-', lower(t.locale) || '-'))
         ORDER BY t.builtin, length(t.locale) DESC, t.locale LIMIT 1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'template "%" does not exist', wanted USING ERRCODE = '22023';
        END IF;
    END IF;
    RETURN skene.render_email(
        coalesce(skene.setting('emailFrom'), 'skene_gate <onboarding@resend.dev>'),
        recipient, skene.setting('replyTo'),
        template.subject, template.html, template.text, hosted, variables,
        variables->>'unsubscribe_url', skene.setting('postalAddress'));
END
$$;
COMMENT ON FUNCTION skene.render_prompt(skene.prompts, text, text) IS
    'The bytes of a prompt''s e-mail: from a template, to an address; 22023 when the template is at fault';

-- Has a customer been asked often enough lately? The setting is like "3 per 7d", and counts
-- prompts of all features that led to an e-mail.
CREATE FUNCTION skene.over_cap(prompt skene.prompts) RETURNS text
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT 'the cap of ' || array_to_string(cap, ' per ') || 'd is reached'
          FROM regexp_matches(skene.setting('promptCap'), '^(\d+) per (\d+)d$') AS cap
         WHERE (SELECT count(*) FROM skene.prompts p
                 WHERE p.user_id = $1.user_id AND p.prompt_id <> $1.prompt_id
                   AND p.state IN ('queued', 'sent')
                   AND p.created_at > skene.gate_time() - make_interval(hours => 24 * cap[2]::integer))
               >= cap[1]::bigint);
END
$$;
COMMENT ON FUNCTION skene.over_cap(skene.prompts) IS
    'Why a prompt would be one too many for its customer; null when it is not';

-- The rows of a prompt, one for each message, each under a key of its own. There is none for a
-- message that would be due after the end of the window, or that the customer does not want.
-- Returns how many there are.
CREATE FUNCTION skene.enqueue_steps(prompt skene.prompts, customer skene.customers) RETURNS integer
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    now_at    timestamptz := skene.gate_time();
    enqueued  integer;
BEGIN
    INSERT INTO skene.outbox (provider, path, body, idempotency_key, next_attempt_at, user_id,
                              prompt_id, recipient, step, category)
    SELECT 'resend', '/emails', skene.render_prompt(prompt, s.template, customer.email),
           'skene-' || gen_random_uuid(), now_at + s.after, prompt.user_id, prompt.prompt_id,
           customer.email, s.step, s.category
      FROM skene.prompt_steps(prompt) s
     WHERE (s.after = '0' OR now_at + s.after < prompt.window_end)
       AND skene.objection(customer, customer.email, s.category) IS NULL
     ORDER BY s.step;
    GET DIAGNOSTICS enqueued = ROW_COUNT;
    RETURN enqueued;
END
$$;
COMMENT ON FUNCTION skene.enqueue_steps(skene.prompts, skene.customers) IS
    'Renders the messages of a prompt into the outbox';

-- Render a new prompt into the outbox, or say in its state why there is no e-mail.
CREATE FUNCTION skene.enqueue_prompt() RETURNS trigger
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    customer   skene.customers;
    new_state  text := 'suppressed';
    problem    text;
BEGIN
    SELECT * INTO customer FROM skene.customers c WHERE c.user_id = NEW.user_id;
    IF NOT EXISTS (SELECT FROM skene.prompt_steps(NEW)) THEN
        problem := 'the feature asks for no prompt';
    ELSIF NEW.kind IN ('limit_reached', 'not_entitled') AND skene.upgrade_plan(NEW) IS NULL THEN
        problem := 'no plan gives more of the feature';
    ELSIF customer.email IS NULL THEN
        new_state := 'no_address';
        problem := 'the customer has no e-mail address; skene_identify() adds one';
    ELSE
        problem := coalesce(skene.objection(customer, customer.email, 'transactional'),
                            skene.over_cap(NEW));
    END IF;
    IF problem IS NULL THEN
        BEGIN
            IF skene.enqueue_steps(NEW, customer) > 0 THEN
                new_state := 'queued';
            ELSE
                problem := 'the window ends before the first message is due';
            END IF;
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

-- What has changed since these rows were rendered. A row that was tried keeps its address.
CREATE FUNCTION skene.changed_mail(ids bigint[])
RETURNS TABLE (outbox_id bigint, prompt_id bigint, step integer, objection text, address text)
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT m.outbox_id, m.prompt_id, m.step, m.objection, m.address
      FROM (SELECT o.outbox_id, o.prompt_id, o.step, o.recipient, goes.address,
                   CASE WHEN c.user_id IS NULL THEN 'the customer has been erased'
                        WHEN c.email IS NULL THEN 'the customer has no e-mail address any more'
                        WHEN p.plan IS DISTINCT FROM (SELECT plan FROM skene.plan_of(p.user_id))
                        THEN 'the customer has another plan by now'
                        WHEN p.kind = 'past_due'
                             AND NOT EXISTS (SELECT FROM skene.subscriptions s
                                              WHERE s.user_id = p.user_id AND s.status = 'past_due')
                        THEN 'no payment is past due any more'
                        WHEN EXISTS (SELECT FROM skene.conversions v
                                      WHERE v.user_id = p.user_id AND v.kind IN ('conversion', 'upgrade')
                                        AND v.converted_at >= p.created_at)
                        THEN 'the customer has upgraded meanwhile'
                        WHEN o.step > 1 AND p.state NOT IN ('queued', 'sent')
                        THEN 'the first message is ' || p.state
                        WHEN o.step > 1 AND p.window_end <= skene.gate_time() THEN 'the window is over'
                        ELSE skene.objection(c, goes.address, o.category) END AS objection
              FROM skene.outbox o
              JOIN skene.prompts p ON p.prompt_id = o.prompt_id
              LEFT JOIN skene.customers c ON c.user_id = p.user_id,
                   LATERAL (SELECT CASE WHEN o.attempts > 0 AND o.recipient IS NOT NULL
                                        THEN o.recipient ELSE c.email END) AS goes (address)
             WHERE o.outbox_id = ANY (ids)) AS m
     WHERE m.objection IS NOT NULL OR m.address <> m.recipient
$$;
COMMENT ON FUNCTION skene.changed_mail(bigint[]) IS
    'Prompts among these rows that must not be sent any more, and why; or that go to another address';

-- Check again what was true when these rows were enqueued. Prompts whose customer has paid,
-- is gone or must not be written to are returned, and cancelled unless somebody has them
-- locked; those whose customer has another address are rendered for it.
CREATE FUNCTION skene.cancel_answered(ids bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    changed   record;
    answered  bigint[] := '{}';
BEGIN
    FOR changed IN SELECT * FROM skene.changed_mail(ids) LOOP
        IF changed.objection IS NULL THEN
            BEGIN
                UPDATE skene.outbox o
                   SET recipient = changed.address,
                       body = skene.render_prompt(p, s.template, changed.address)
                  FROM skene.prompts p, skene.prompt_steps(p) s
                 WHERE o.outbox_id = changed.outbox_id AND p.prompt_id = changed.prompt_id
                   AND s.step = changed.step;
                CONTINUE WHEN FOUND;
                changed.objection := 'the feature asks for no such message any more';
            EXCEPTION WHEN OTHERS THEN
                changed.objection := 'not for the customer''s new address: ' || SQLERRM;
            END;
        END IF;
        answered := answered || changed.outbox_id;
        -- the state of a prompt is that of its first message
        IF changed.step = 1 THEN
            PERFORM FROM skene.prompts p WHERE p.prompt_id = changed.prompt_id FOR UPDATE SKIP LOCKED;
            CONTINUE WHEN NOT FOUND;
            UPDATE skene.prompts SET state = 'cancelled', error = changed.objection
             WHERE prompt_id = changed.prompt_id;
        END IF;
        UPDATE skene.outbox SET state = 'cancelled', settled_at = skene.gate_time(),
                                last_error = changed.objection
         WHERE outbox_id = changed.outbox_id;
    END LOOP;
    RETURN answered;
END
$$;
COMMENT ON FUNCTION skene.cancel_answered(bigint[]) IS
    'Which of these rows must not be sent any more; they are cancelled';
