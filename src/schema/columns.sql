-- columns.sql: what each column means, for \d+ and for tools that show it. Every column of
-- every table and view has a line here; sql/install.sql tests it.

-- Tables ---------------------------------------------------------------------

COMMENT ON COLUMN skene.plans.plan IS 'Name, as in the configuration document';
COMMENT ON COLUMN skene.plans.rank IS
    'A higher plan has a higher rank; of several subscriptions the highest plan is in force';
COMMENT ON COLUMN skene.plans.is_default IS 'Is this the plan of customers without a subscription?';
COMMENT ON COLUMN skene.plans.prices IS
    'Stripe price ids, lookup keys or product ids that mean this plan; * means any other price';

COMMENT ON COLUMN skene.features.feature IS 'Name, as in the configuration document';
COMMENT ON COLUMN skene.features.period IS
    'When the count starts anew: 30d, minute, hour, day, week, month, year or lifetime';
COMMENT ON COLUMN skene.features.endpoints IS 'Requests that use the feature: POST /api/export/*';
COMMENT ON COLUMN skene.features.warn_at IS
    'Per cent of the limit at which to warn: once in a window, at the first of them';
COMMENT ON COLUMN skene.features.message IS
    'What a denied customer is told; null is a sentence of the extensions';
COMMENT ON COLUMN skene.features.prompt_provider IS
    'Who delivers the prompt; null: a denial asks nobody to upgrade';
COMMENT ON COLUMN skene.features.prompt_template IS
    'Template of the prompt: a row of skene.templates, or resend:NAME';
COMMENT ON COLUMN skene.features.prompt_on IS
    'When there is a prompt: denied, at the first denial, or reached, when the last unit is used';
COMMENT ON COLUMN skene.features.prompt_sequence IS
    'Messages of the prompt, an array of objects: after (0 or days: 2d) and template; null for one, at once';

COMMENT ON COLUMN skene.entitlements.plan IS 'The plan that gives';
COMMENT ON COLUMN skene.entitlements.feature IS 'The feature it gives';
COMMENT ON COLUMN skene.entitlements.period IS 'Length of the window in which usage_limit holds';
COMMENT ON COLUMN skene.entitlements.usage_limit IS 'Units in one window; null is unlimited';

COMMENT ON COLUMN skene.settings.name IS
    'As in the configuration document: emailFrom, upgradeUrl, timeZone ...';
COMMENT ON COLUMN skene.settings.value IS 'As in the configuration document';

COMMENT ON COLUMN skene.templates.template IS 'Name by which prompts refer to it';
COMMENT ON COLUMN skene.templates.locale IS 'Language, de or de-AT; empty for all others';
COMMENT ON COLUMN skene.templates.builtin IS
    'Did it come with the extension? Such rows are not dumped';
COMMENT ON COLUMN skene.templates.subject IS 'Template text';
COMMENT ON COLUMN skene.templates.html IS 'Template text; null for none';
COMMENT ON COLUMN skene.templates.text IS 'Template text; null for none';

COMMENT ON COLUMN skene.customers.user_id IS 'The applications own id of the account, as text';
COMMENT ON COLUMN skene.customers.email IS 'Where prompts go; null: nobody is written to';
COMMENT ON COLUMN skene.customers.name IS 'For prompts and people';
COMMENT ON COLUMN skene.customers.attributes IS
    'Whatever the application wants to keep with it; marketing true or false is its consent';
COMMENT ON COLUMN skene.customers.stripe_customer_id IS 'Customer at Stripe';
COMMENT ON COLUMN skene.customers.locale IS 'Language, as the application gave it';
COMMENT ON COLUMN skene.customers.time_zone IS 'Time zone, as the application gave it';
COMMENT ON COLUMN skene.customers.anchor IS
    'Where windows of a fixed number of days are counted from; set once, never moves';
COMMENT ON COLUMN skene.customers.created_at IS 'When the row was written';
COMMENT ON COLUMN skene.customers.updated_at IS 'When it last changed';
COMMENT ON COLUMN skene.customers.unsubscribe_token IS
    'Whoever knows it may unsubscribe the customer from marketing';

COMMENT ON COLUMN skene.subscriptions.subscription_id IS
    'Id at Stripe; manual:USER for one set by hand';
COMMENT ON COLUMN skene.subscriptions.user_id IS 'Whose it is; null until the customer is known';
COMMENT ON COLUMN skene.subscriptions.source IS 'stripe or manual';
COMMENT ON COLUMN skene.subscriptions.plan IS
    'The plan its prices lead to; null when they lead to none';
COMMENT ON COLUMN skene.subscriptions.status IS
    'As at Stripe: active, trialing, past_due, canceled ...';
COMMENT ON COLUMN skene.subscriptions.prices IS
    'Names a plan can be known by: ids of prices and products, lookup keys';
COMMENT ON COLUMN skene.subscriptions.amount IS 'Price of one billing interval, in minor units';
COMMENT ON COLUMN skene.subscriptions.currency IS 'ISO 4217, lower-case';
COMMENT ON COLUMN skene.subscriptions.billing_interval IS 'day, week, month or year';
COMMENT ON COLUMN skene.subscriptions.stripe_customer_id IS 'Customer at Stripe';
COMMENT ON COLUMN skene.subscriptions.current_period_start IS 'Begin of the paid period';
COMMENT ON COLUMN skene.subscriptions.current_period_end IS 'End of the paid period';
COMMENT ON COLUMN skene.subscriptions.cancel_at IS 'When it will be cancelled, if so decided';
COMMENT ON COLUMN skene.subscriptions.ends_at IS 'When it ended, or will, if set by hand';
COMMENT ON COLUMN skene.subscriptions.past_due_since IS
    'Since when a payment is missing; skene_gate.past_due_grace counts from here';
COMMENT ON COLUMN skene.subscriptions.reason IS 'Why it was set by hand';
COMMENT ON COLUMN skene.subscriptions.event_created IS
    'Time of the newest event applied; older ones are stale';
COMMENT ON COLUMN skene.subscriptions.updated_at IS 'When the row last changed';

COMMENT ON COLUMN skene.overrides.user_id IS 'For whom';
COMMENT ON COLUMN skene.overrides.feature IS 'For which feature';
COMMENT ON COLUMN skene.overrides.usage_limit IS
    'The limit in place of the plans; null is unlimited';
COMMENT ON COLUMN skene.overrides.expires_at IS 'Until when it holds; null is for ever';
COMMENT ON COLUMN skene.overrides.reason IS 'For people';
COMMENT ON COLUMN skene.overrides.created_at IS 'When it was set';

COMMENT ON COLUMN skene.grants.grant_id IS 'Id';
COMMENT ON COLUMN skene.grants.user_id IS 'For whom';
COMMENT ON COLUMN skene.grants.feature IS 'For which feature';
COMMENT ON COLUMN skene.grants.amount IS 'Units';
COMMENT ON COLUMN skene.grants.expires_at IS 'Until when they may be used; null is for ever';
COMMENT ON COLUMN skene.grants.priority IS 'Which grant is used first';
COMMENT ON COLUMN skene.grants.reason IS 'For people';
COMMENT ON COLUMN skene.grants.idempotency_key IS 'Key by which a repeated call is known';
COMMENT ON COLUMN skene.grants.created_at IS 'When they were given';

COMMENT ON COLUMN skene.usage.user_id IS 'Whose';
COMMENT ON COLUMN skene.usage.feature IS 'What was used';
COMMENT ON COLUMN skene.usage.period IS 'Length of the window, or grant:ID';
COMMENT ON COLUMN skene.usage.window_start IS 'Begin of the window, inclusive';
COMMENT ON COLUMN skene.usage.window_end IS 'End of the window, exclusive';
COMMENT ON COLUMN skene.usage.used IS
    'Units used in the window, as far as they are folded in';

COMMENT ON COLUMN skene.usage_events.user_id IS 'Whose';
COMMENT ON COLUMN skene.usage_events.feature IS 'What was used';
COMMENT ON COLUMN skene.usage_events.period IS 'Length of the window, or grant:ID';
COMMENT ON COLUMN skene.usage_events.window_start IS 'Begin of the window, inclusive';
COMMENT ON COLUMN skene.usage_events.window_end IS 'End of the window, exclusive';
COMMENT ON COLUMN skene.usage_events.amount IS 'Units counted in this window; negative: given back';
COMMENT ON COLUMN skene.usage_events.more IS 'Further windows that the same call was counted in';
COMMENT ON COLUMN skene.usage_events.anchor IS
    'Of a customer without a row, which the worker makes with it';
COMMENT ON COLUMN skene.usage_events.created_at IS 'When it was written';

COMMENT ON COLUMN skene.idempotency_keys.user_id IS 'Whose call';
COMMENT ON COLUMN skene.idempotency_keys.feature IS 'Which feature it counted';
COMMENT ON COLUMN skene.idempotency_keys.operation IS 'consume or refund';
COMMENT ON COLUMN skene.idempotency_keys.idempotency_key IS 'As the caller gave it';
COMMENT ON COLUMN skene.idempotency_keys.amount IS 'Units; a repeat must ask for the same';
COMMENT ON COLUMN skene.idempotency_keys.created_at IS
    'When it was written; kept for skene_gate.idempotency_retention';

COMMENT ON COLUMN skene.prompts.prompt_id IS 'Id';
COMMENT ON COLUMN skene.prompts.user_id IS 'Who is asked';
COMMENT ON COLUMN skene.prompts.feature IS 'For which feature';
COMMENT ON COLUMN skene.prompts.period IS 'Length of the window';
COMMENT ON COLUMN skene.prompts.window_start IS 'Begin of the window, inclusive';
COMMENT ON COLUMN skene.prompts.window_end IS 'End of the window, exclusive';
COMMENT ON COLUMN skene.prompts.kind IS 'warning, limit_reached, not_entitled or past_due';
COMMENT ON COLUMN skene.prompts.state IS
    'new, queued, sent, no_address, suppressed, failed or cancelled: that of its first message';
COMMENT ON COLUMN skene.prompts.denials IS 'How often the customer was denied in this window';
COMMENT ON COLUMN skene.prompts.first_denied_at IS 'The first time; or when the limit or the warning was reached';
COMMENT ON COLUMN skene.prompts.last_denied_at IS 'The last time';
COMMENT ON COLUMN skene.prompts.plan IS 'The plan whose limit was hit';
COMMENT ON COLUMN skene.prompts.error IS 'Why there is no e-mail';
COMMENT ON COLUMN skene.prompts.created_at IS 'When the row was written';

COMMENT ON COLUMN skene.outbox.outbox_id IS 'Id';
COMMENT ON COLUMN skene.outbox.provider IS 'resend or stripe';
COMMENT ON COLUMN skene.outbox.path IS 'Path of the request, behind the providers base URL';
COMMENT ON COLUMN skene.outbox.content_type IS 'Content-Type of the request';
COMMENT ON COLUMN skene.outbox.body IS 'The request, byte for byte';
COMMENT ON COLUMN skene.outbox.idempotency_key IS 'Idempotency-Key of every attempt';
COMMENT ON COLUMN skene.outbox.state IS 'pending, leased, sent, captured, dead, held or cancelled';
COMMENT ON COLUMN skene.outbox.attempts IS 'Attempts so far';
COMMENT ON COLUMN skene.outbox.next_attempt_at IS 'Not before this time';
COMMENT ON COLUMN skene.outbox.first_attempt_at IS
    'When it was first tried; if nobody accepts it for 3 days it is dead';
COMMENT ON COLUMN skene.outbox.last_attempt_at IS 'When it was last tried';
COMMENT ON COLUMN skene.outbox.unknown_since IS
    'The first attempt that may have been accepted, though no answer says so; 23 hours later it is dead';
COMMENT ON COLUMN skene.outbox.lease_token IS 'Who may settle the attempt under way';
COMMENT ON COLUMN skene.outbox.lease_expires_at IS 'When that attempt is given up';
COMMENT ON COLUMN skene.outbox.batch_id IS 'The batch that carries it, until it is settled';
COMMENT ON COLUMN skene.outbox.batch_place IS 'Place in that batch, from 1';
COMMENT ON COLUMN skene.outbox.alone IS 'Not in a batch again: one was refused on its account';
COMMENT ON COLUMN skene.outbox.last_status IS 'HTTP status of the last answer';
COMMENT ON COLUMN skene.outbox.last_error IS 'What was wrong the last time';
COMMENT ON COLUMN skene.outbox.dns_ms IS
    'Milliseconds from the begin of the last attempt until the name was resolved; null, as the next two, on a connection that was used again';
COMMENT ON COLUMN skene.outbox.connect_ms IS '... until the connection stood';
COMMENT ON COLUMN skene.outbox.tls_ms IS '... until TLS stood';
COMMENT ON COLUMN skene.outbox.first_byte_ms IS '... until the answer began';
COMMENT ON COLUMN skene.outbox.total_ms IS '... until its end';
COMMENT ON COLUMN skene.outbox.provider_id IS 'The providers id of what it accepted';
COMMENT ON COLUMN skene.outbox.user_id IS 'Whom it concerns';
COMMENT ON COLUMN skene.outbox.prompt_id IS 'The prompt it delivers';
COMMENT ON COLUMN skene.outbox.origin_system IS
    'With origin_database: the database that enqueued the row, the only one whose worker sends it';
COMMENT ON COLUMN skene.outbox.origin_database IS 'See origin_system';
COMMENT ON COLUMN skene.outbox.created_at IS 'When it was enqueued';
COMMENT ON COLUMN skene.outbox.settled_at IS 'When it came to its end';
COMMENT ON COLUMN skene.outbox.recipient IS 'To whom it goes, if it delivers a prompt';
COMMENT ON COLUMN skene.outbox.step IS
    'Which message of its prompts sequence; the state of the prompt is that of the first';
COMMENT ON COLUMN skene.outbox.category IS
    'transactional, or marketing: not without consent; null for what is no prompt';

COMMENT ON COLUMN skene.suppressions.address_hash IS
    'SHA-256 of the address in lower case; skene_suppress() makes it';
COMMENT ON COLUMN skene.suppressions.category IS 'all or marketing: what is not sent';
COMMENT ON COLUMN skene.suppressions.reason IS 'For people';
COMMENT ON COLUMN skene.suppressions.since IS 'Since when';

COMMENT ON COLUMN skene.batches.batch_id IS 'Id';
COMMENT ON COLUMN skene.batches.idempotency_key IS 'Idempotency-Key of every attempt';
COMMENT ON COLUMN skene.batches.messages IS 'How many rows it carries';
COMMENT ON COLUMN skene.batches.body IS 'The request, byte for byte: their bodies in their order';
COMMENT ON COLUMN skene.batches.origin_system IS
    'With origin_database: the database that put it together';
COMMENT ON COLUMN skene.batches.origin_database IS 'See origin_system';
COMMENT ON COLUMN skene.batches.created_at IS 'When it was put together';

COMMENT ON COLUMN skene.pauses.provider IS 'The provider; * is all of them';
COMMENT ON COLUMN skene.pauses.paused_at IS 'Since when';

COMMENT ON COLUMN skene.instance.system_identifier IS 'The cluster, as in its control file';
COMMENT ON COLUMN skene.instance.database_oid IS 'The database in it';
COMMENT ON COLUMN skene.instance.installed_at IS 'Since when';

COMMENT ON COLUMN skene.webhook_events.provider IS 'Who sent it';
COMMENT ON COLUMN skene.webhook_events.event_id IS 'The providers id';
COMMENT ON COLUMN skene.webhook_events.event_type IS
    'As the provider calls it: customer.subscription.updated';
COMMENT ON COLUMN skene.webhook_events.object_id IS 'What it speaks of';
COMMENT ON COLUMN skene.webhook_events.created_at IS 'When it happened, says the provider';
COMMENT ON COLUMN skene.webhook_events.received_at IS 'When it came';
COMMENT ON COLUMN skene.webhook_events.livemode IS 'Real money?';
COMMENT ON COLUMN skene.webhook_events.result IS 'applied, stale, unmatched or ignored';

COMMENT ON COLUMN skene.conversions.conversion_id IS 'Id';
COMMENT ON COLUMN skene.conversions.user_id IS 'Who changed';
COMMENT ON COLUMN skene.conversions.kind IS 'conversion, upgrade, downgrade or churn';
COMMENT ON COLUMN skene.conversions.from_plan IS 'The plan before';
COMMENT ON COLUMN skene.conversions.to_plan IS 'The plan after';
COMMENT ON COLUMN skene.conversions.prompt_id IS
    'The last prompt before the change, if younger than skene_gate.attribution_window';
COMMENT ON COLUMN skene.conversions.feature IS 'The feature of that prompt';
COMMENT ON COLUMN skene.conversions.time_to_convert IS 'From that prompt to the change';
COMMENT ON COLUMN skene.conversions.amount IS 'Price of one billing interval, in minor units';
COMMENT ON COLUMN skene.conversions.currency IS 'ISO 4217, lower-case';
COMMENT ON COLUMN skene.conversions.subscription_id IS 'The subscription that changed';
COMMENT ON COLUMN skene.conversions.converted_at IS 'When';

-- Views ----------------------------------------------------------------------

COMMENT ON COLUMN skene.usage_totals.user_id IS 'Whose';
COMMENT ON COLUMN skene.usage_totals.feature IS 'What was used';
COMMENT ON COLUMN skene.usage_totals.period IS 'Length of the window, or grant:ID';
COMMENT ON COLUMN skene.usage_totals.window_start IS 'Begin of the window, inclusive';
COMMENT ON COLUMN skene.usage_totals.window_end IS 'End of the window, exclusive';
COMMENT ON COLUMN skene.usage_totals.used IS 'Units used in the window';

COMMENT ON COLUMN skene.mailbox.outbox_id IS 'Row of skene.outbox';
COMMENT ON COLUMN skene.mailbox.state IS 'captured, sent, or any other of skene.outbox';
COMMENT ON COLUMN skene.mailbox.user_id IS 'The customer';
COMMENT ON COLUMN skene.mailbox.feature IS 'The feature of the prompt';
COMMENT ON COLUMN skene.mailbox.kind IS 'The kind of the prompt';
COMMENT ON COLUMN skene.mailbox.to_address IS 'Recipient';
COMMENT ON COLUMN skene.mailbox.from_address IS 'Sender';
COMMENT ON COLUMN skene.mailbox.subject IS 'Subject; null with a hosted template';
COMMENT ON COLUMN skene.mailbox.text IS 'The message as text';
COMMENT ON COLUMN skene.mailbox.html IS 'The message as HTML';
COMMENT ON COLUMN skene.mailbox.hosted_template IS
    'Template at Resend that makes the message there';
COMMENT ON COLUMN skene.mailbox.created_at IS 'When it was enqueued';
COMMENT ON COLUMN skene.mailbox.settled_at IS 'When it was captured, sent or given up';
COMMENT ON COLUMN skene.mailbox.step IS 'Which message of its prompts sequence';
COMMENT ON COLUMN skene.mailbox.category IS 'transactional or marketing';
COMMENT ON COLUMN skene.mailbox.due_at IS 'Not before this time';

COMMENT ON COLUMN skene.sendable.outbox_id IS 'Row of skene.outbox';
COMMENT ON COLUMN skene.sendable.provider IS 'resend or stripe';
COMMENT ON COLUMN skene.sendable.batch_id IS 'The batch that carries it';
COMMENT ON COLUMN skene.sendable.attempts IS 'Attempts so far';
COMMENT ON COLUMN skene.sendable.next_attempt_at IS 'Due since';
COMMENT ON COLUMN skene.outbox_stats.provider IS 'resend or stripe';
COMMENT ON COLUMN skene.outbox_stats.state IS 'As in skene.outbox';
COMMENT ON COLUMN skene.outbox_stats.messages IS 'How many';
COMMENT ON COLUMN skene.outbox_stats.oldest_created_at IS 'When the oldest was enqueued';
COMMENT ON COLUMN skene.outbox_stats.last_settled_at IS 'When the last came to its end';
COMMENT ON COLUMN skene.outbox_stats.median_ms IS
    'Median time of a request, in milliseconds, of their last attempts';
COMMENT ON COLUMN skene.outbox_stats.max_attempts IS 'Attempts of the one tried most often';

COMMENT ON COLUMN skene.funnel.feature IS 'The feature';
COMMENT ON COLUMN skene.funnel.limit_hits IS 'Denials';
COMMENT ON COLUMN skene.funnel.customers IS 'Customers who were denied';
COMMENT ON COLUMN skene.funnel.prompts IS 'Prompts written';
COMMENT ON COLUMN skene.funnel.emails IS
    'Prompts that left as e-mail, or were captured; later messages of a sequence do not count';
COMMENT ON COLUMN skene.funnel.conversions IS 'Conversions and upgrades credited to a prompt';
COMMENT ON COLUMN skene.funnel.conversion_percent IS 'Of the customers who were denied';
COMMENT ON COLUMN skene.funnel.median_time_to_convert IS 'From prompt to change of plan';
COMMENT ON COLUMN skene.funnel.amounts IS
    'Object of currency and the sum of prices of one billing interval, in minor units';

COMMENT ON COLUMN skene.worker_status.database IS 'This database';
COMMENT ON COLUMN skene.worker_status.pid IS 'Process of its worker';
COMMENT ON COLUMN skene.worker_status.state IS
    'running, starting, wanted, failed, barred (kept out by a command) or absent';
COMMENT ON COLUMN skene.worker_status.started_at IS 'When it started';
COMMENT ON COLUMN skene.worker_status.last_success_at IS 'When it last did all its work';
COMMENT ON COLUMN skene.worker_status.last_error IS 'What went wrong last';
COMMENT ON COLUMN skene.worker_status.last_error_at IS 'When';
COMMENT ON COLUMN skene.worker_status.notes IS
    'Windows of this database with denials in shared memory';
COMMENT ON COLUMN skene.worker_status.notes_lost IS
    'Denials of all databases that got no prompt, since the server started: no room (skene_gate.max_windows), or an error';
COMMENT ON COLUMN skene.worker_status.denials_dropped IS
    'Denials of customers who did not become known within a minute, since the server started';

COMMENT ON COLUMN skene.provider_status.provider IS 'resend or stripe';
COMMENT ON COLUMN skene.provider_status.breaker IS
    'closed: requests are sent; open: none before until; probing: one is under way to see; resting: it asked for a pause';
COMMENT ON COLUMN skene.provider_status.until IS 'When the next request may be sent';
COMMENT ON COLUMN skene.provider_status.reason IS 'What opened the breaker, or went wrong last';
COMMENT ON COLUMN skene.provider_status.failures IS 'Failures in a row, of all databases with the same key';
COMMENT ON COLUMN skene.provider_status.in_flight IS 'Requests under way from this database';
COMMENT ON COLUMN skene.provider_status.requests IS
    'Requests answered or given up since the server started';
COMMENT ON COLUMN skene.provider_status.sent IS 'Messages accepted since the server started';
COMMENT ON COLUMN skene.provider_status.failed IS
    'Requests since the server started that were not accepted';
COMMENT ON COLUMN skene.provider_status.sent_last_minute IS 'Messages accepted within a minute';

COMMENT ON COLUMN skene.customer_plans.user_id IS 'Whose';
COMMENT ON COLUMN skene.customer_plans.plan IS 'The plan in force';
COMMENT ON COLUMN skene.customer_plans.rank IS 'Rank of that plan';
COMMENT ON COLUMN skene.customer_plans.subscription_id IS 'The subscription it comes from';
COMMENT ON COLUMN skene.customer_plans.status IS 'Status of that subscription';

COMMENT ON COLUMN skene.role_rights.kind IS 'As skene_grant_role() takes it';
COMMENT ON COLUMN skene.role_rights.object_kind IS 'function or relation';
COMMENT ON COLUMN skene.role_rights.object_name IS 'Name of the function or relation';

COMMENT ON COLUMN skene.windows.user_id IS 'Whose';
COMMENT ON COLUMN skene.windows.feature IS 'The feature that is counted';
COMMENT ON COLUMN skene.windows.period IS 'Length of the window, or grant:ID';
COMMENT ON COLUMN skene.windows.window_start IS 'Begin of the window, inclusive';
COMMENT ON COLUMN skene.windows.window_end IS 'End of the window, exclusive';
COMMENT ON COLUMN skene.windows.lo IS 'Units committed, less those that calls in flight give back';
COMMENT ON COLUMN skene.windows.hi IS 'Units committed, and those that calls in flight consume';
COMMENT ON COLUMN skene.windows.in_flight IS 'Calls and transactions under way that hold the window';
COMMENT ON COLUMN skene.windows.hits IS 'Calls answered from shared memory';
COMMENT ON COLUMN skene.windows.waits IS 'Waits for transactions that held the last units';
COMMENT ON COLUMN skene.windows.denials IS 'Calls denied';
