-- mail.sql: from a prompt to rows of the outbox, and whether they may still go when they are
-- leased. Bytes and key of a row freeze with its first attempt: until then it may be rendered
-- anew, for nobody has seen it.

-- Whoever owes a payment is asked for it, in words of its own, and never to upgrade; a warning
-- comes before there is anything to ask for.
CREATE FUNCTION skene.prompt_template(prompt skene.prompts) RETURNS text
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT CASE $1.kind WHEN 'past_due' THEN 'past_due' WHEN 'warning' THEN 'limit_warning'
                        ELSE f.prompt_template END
      FROM skene.features f WHERE f.feature = $1.feature AND f.prompt_provider IS NOT NULL
$$;
COMMENT ON FUNCTION skene.prompt_template(skene.prompts) IS
    'Template of a prompt''s e-mail; null when its feature asks for no prompt';

CREATE FUNCTION skene.render_prompt(prompt skene.prompts, wanted text, recipient text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    template  skene.templates;
    hosted    text;
BEGIN
    IF wanted LIKE 'resend:%' THEN
        hosted := substr(wanted, 8);
    ELSE
        SELECT * INTO template FROM skene.templates t
         WHERE t.template = wanted ORDER BY t.builtin, t.locale <> '' LIMIT 1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'template "%" does not exist', wanted USING ERRCODE = '22023';
        END IF;
    END IF;
    RETURN skene.render_email(
        coalesce(skene.setting('emailFrom'), 'skene_gate <onboarding@resend.dev>'),
        recipient, skene.setting('replyTo'),
        template.subject, template.html, template.text, hosted, skene.prompt_variables(prompt));
END
$$;
COMMENT ON FUNCTION skene.render_prompt(skene.prompts, text, text) IS
    'The bytes of a prompt''s e-mail: from a template, to an address; 22023 when the template is at fault';

-- Render a new prompt into the outbox, or say in its state why there is no e-mail.
CREATE FUNCTION skene.enqueue_prompt() RETURNS trigger
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    address    text := (SELECT c.email FROM skene.customers c WHERE c.user_id = NEW.user_id);
    template   text := skene.prompt_template(NEW);
    new_state  text := 'suppressed';
    problem    text;
BEGIN
    IF template IS NULL THEN
        problem := 'the feature asks for no prompt';
    ELSIF NEW.kind IN ('limit_reached', 'not_entitled') AND skene.upgrade_plan(NEW) IS NULL THEN
        problem := 'no plan gives more of the feature';
    ELSIF address IS NULL THEN
        new_state := 'no_address';
        problem := 'the customer has no e-mail address; skene_identify() adds one';
    ELSE
        problem := skene.objection(address);
    END IF;
    IF problem IS NULL THEN
        BEGIN
            INSERT INTO skene.outbox (provider, path, body, idempotency_key, user_id, prompt_id, recipient)
            VALUES ('resend', '/emails', skene.render_prompt(NEW, template, address),
                    'skene-' || gen_random_uuid(), NEW.user_id, NEW.prompt_id, address);
            new_state := 'queued';
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
RETURNS TABLE (outbox_id bigint, prompt_id bigint, objection text, address text)
LANGUAGE sql STABLE SET search_path TO pg_catalog, pg_temp AS $$
    SELECT m.outbox_id, m.prompt_id, m.objection, m.address
      FROM (SELECT o.outbox_id, o.prompt_id, o.recipient, goes.address,
                   CASE WHEN c.user_id IS NULL THEN 'the customer has been erased'
                        WHEN c.email IS NULL THEN 'the customer has no e-mail address any more'
                        WHEN p.plan IS DISTINCT FROM (SELECT plan FROM skene.plan_of(p.user_id))
                        THEN 'the customer has another plan by now'
                        WHEN p.kind = 'past_due'
                             AND NOT EXISTS (SELECT FROM skene.subscriptions s
                                              WHERE s.user_id = p.user_id AND s.status = 'past_due')
                        THEN 'no payment is past due any more'
                        ELSE skene.objection(goes.address) END AS objection
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
                       body = skene.render_prompt(p, skene.prompt_template(p), changed.address)
                  FROM skene.prompts p
                 WHERE o.outbox_id = changed.outbox_id AND p.prompt_id = changed.prompt_id
                   AND skene.prompt_template(p) IS NOT NULL;
                CONTINUE WHEN FOUND;
                changed.objection := 'the feature asks for no prompt any more';
            EXCEPTION WHEN OTHERS THEN
                changed.objection := 'not for the customer''s new address: ' || SQLERRM;
            END;
        END IF;
        answered := answered || changed.outbox_id;
        PERFORM FROM skene.prompts p WHERE p.prompt_id = changed.prompt_id FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            UPDATE skene.outbox SET state = 'cancelled', settled_at = skene.gate_time(),
                                    last_error = changed.objection
             WHERE outbox_id = changed.outbox_id;
            UPDATE skene.prompts SET state = 'cancelled', error = changed.objection
             WHERE prompt_id = changed.prompt_id;
        END IF;
    END LOOP;
    RETURN answered;
END
$$;
COMMENT ON FUNCTION skene.cancel_answered(bigint[]) IS
    'Which of these rows must not be sent any more; they are cancelled';
