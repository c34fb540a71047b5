-- mail.sql: from a prompt to rows of the outbox, and whether they may still go when they are
-- leased.

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

-- Prompts among these rows whose customer has a better plan by now must not ask for the
-- upgrade: returns them all, and cancels those that nobody has locked.
CREATE FUNCTION skene.cancel_answered(ids bigint[]) RETURNS bigint[]
LANGUAGE plpgsql SET search_path TO pg_catalog, pg_temp AS $$
DECLARE
    answered bigint[] := ARRAY(
        SELECT d.outbox_id FROM skene.outbox d JOIN skene.prompts p USING (prompt_id)
         WHERE d.outbox_id = ANY (ids)
           AND p.plan IS DISTINCT FROM (SELECT plan FROM skene.plan_of(p.user_id)));
BEGIN
    IF answered <> '{}' THEN
        WITH free AS (
            SELECT d.outbox_id, d.prompt_id FROM skene.outbox d JOIN skene.prompts p USING (prompt_id)
             WHERE d.outbox_id = ANY (answered) FOR UPDATE SKIP LOCKED),
        cancelled AS (
            UPDATE skene.outbox o SET state = 'cancelled', settled_at = skene.gate_time(),
                                      last_error = 'the customer has another plan by now'
              FROM free f WHERE o.outbox_id = f.outbox_id)
        UPDATE skene.prompts p SET state = 'cancelled' FROM free f WHERE p.prompt_id = f.prompt_id;
    END IF;
    RETURN answered;
END
$$;
COMMENT ON FUNCTION skene.cancel_answered(bigint[]) IS
    'Which of these rows need not be sent any more; they are cancelled';
