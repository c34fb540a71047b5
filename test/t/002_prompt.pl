# From a denial to an e-mail: one prompt for each customer, feature and window, whatever
# becomes of the transaction that was denied. Delivery stays at capture, the default.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('prompt');
$node->append_conf('postgresql.conf', "deadlock_timeout = '10ms'\nlog_lock_waits = on");
$node->start;
install($node);
$node->safe_psql('postgres', q{
	SELECT count(*) FROM skene_apply($$ {
	    "features": {
	        "quiet":  { "limit": { "free": 0, "pro": null }, "period": "30d", "prompt": null },
	        "report": { "limit": { "pro": null }, "period": "30d",
	                    "prompt": { "provider": "resend", "template": "greeting" } },
	        "hosted": { "limit": { "free": 0, "pro": null }, "period": "30d",
	                    "prompt": { "provider": "resend", "template": "resend:welcome-offer" } },
	        "broken": { "limit": { "free": 0, "pro": null }, "period": "30d",
	                    "prompt": { "provider": "resend", "template": "unclosed" } } },
	    "templates": {
	        "greeting": { "subject": "{{name}}, upgrade", "html": "<p>{{name}}</p>", "text": "{{name}}" },
	        "unclosed": { "subject": "fine", "text": "fine" } } } $$);
	-- what skene_apply would refuse
	UPDATE skene.templates SET text = 'before {{#name}} after' WHERE template = 'unclosed'});

# A customer with an address who has used up the free unit of export.
sub customer
{
	my ($user, $name) = @_;
	$node->safe_psql('postgres',
		"SELECT skene_identify('$user', '$user\@example.com'); SELECT skene_consume('$user', 'export')");
	return;
}

# Test that a customer's only prompt for a feature comes to look like this:
# kind, state, denials, error, number of e-mails captured.
sub prompted
{
	my ($user, $feature, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $query = qq{
		SELECT concat_ws(' ', p.kind, p.state, p.denials, p.error,
		           (SELECT count(*) FROM skene.mailbox m
		             WHERE m.user_id = p.user_id AND m.feature = p.feature AND m.state = 'captured'))
		  FROM skene.prompts p WHERE p.user_id = '$user' AND p.feature = '$feature'};
	return ok($node->poll_query_until('postgres', $query, $expected), $test)
	  || diag($node->safe_psql('postgres', $query));
}

# Whatever becomes of the caller -----------------------------------------------------

customer($_) for qw(committed rolled_back savepoint failed required busy);
$node->safe_psql('postgres', q{SELECT skene_consume('committed', 'export')});
prompted('committed', 'export', 'limit_reached queued 1 1', 'a denial becomes a prompt and an e-mail');

$node->safe_psql('postgres', q{BEGIN; SELECT skene_consume('rolled_back', 'export'); ROLLBACK});
prompted('rolled_back', 'export', 'limit_reached queued 1 1', 'also when the caller rolls back');

$node->safe_psql('postgres', q{
	BEGIN; SAVEPOINT s; SELECT skene_consume('savepoint', 'export'); ROLLBACK TO s; COMMIT});
prompted('savepoint', 'export', 'limit_reached queued 1 1', 'to a savepoint');

$node->psql('postgres', q{BEGIN; SELECT skene_consume('failed', 'export'); SELECT 1 / 0; COMMIT});
prompted('failed', 'export', 'limit_reached queued 1 1', 'or fails');

my (undef, undef, $stderr) = $node->psql('postgres', q{SELECT skene_require('required', 'export')},
	extra_params => [ '-v', 'VERBOSITY=verbose' ]);
like($stderr, qr/ERROR:  PT402/, 'skene_require raises');
prompted('required', 'export', 'limit_reached queued 1 1', 'and prompts');

# The e-mail -------------------------------------------------------------------------

is( $node->safe_psql('postgres', q{
		SELECT to_address, from_address, subject, text LIKE '%Upgrade to pro: https://acme.test/upgrade%',
		       html LIKE '%href="https://acme.test/upgrade"%', hosted_template
		  FROM skene.mailbox WHERE user_id = 'committed'}),
	'committed@example.com|Acme <hello@acme.test>|You have reached your export limit|t|t|',
	'skene.mailbox shows the e-mail');
is($node->safe_psql('postgres', q{SELECT delivery, pending FROM skene_status()}),
	'capture|0', 'delivery is capture unless told');

my $name = 'Ada" <script>alert(1)</script>' . "\r\nBcc: all\@example.com";
$node->safe_psql('postgres', qq{
	SELECT skene_identify('hostile', 'hostile\@example.com', \$name\$$name\$name\$);
	SELECT skene_consume('hostile', 'report')});
prompted('hostile', 'report', 'not_entitled queued 1 1', 'a feature the plan does not have');
is( $node->safe_psql('postgres', q{
		SELECT body::jsonb - '{from,to,subject,html,text}'::text[], body::jsonb->>'to',
		       (body::jsonb->>'subject') ~ '[[:cntrl:]]', (body::jsonb->>'subject') LIKE 'Ada%, upgrade',
		       body::jsonb->>'html' LIKE '%<script%', body::jsonb->>'html' LIKE '%&lt;script&gt;%'
		  FROM skene.outbox WHERE user_id = 'hostile'}),
	'{}|["hostile@example.com"]|f|t|f|t', 'a name gets neither into headers nor into markup');

# past the grace its plan is lost, and the prompt asks for the payment
customer('owing');
$node->safe_psql('postgres', q{
	INSERT INTO skene.subscriptions (subscription_id, user_id, source, plan, status, past_due_since)
	VALUES ('sub_owing', 'owing', 'stripe', 'pro', 'past_due', clock_timestamp() - interval '8 days')});
$node->safe_psql('postgres', q{SELECT skene_consume('owing', 'export')});
prompted('owing', 'export', 'past_due queued 1 1', 'a payment that failed');

customer('templated');
$node->safe_psql('postgres', q{SELECT skene_consume('templated', 'hosted')});
prompted('templated', 'hosted', 'limit_reached queued 1 1', 'a template hosted at Resend');
is( $node->safe_psql('postgres', q{
		SELECT body::jsonb->'template'->>'id', body::jsonb->'template'->'variables'->>'feature',
		       body::jsonb ?| '{html,text}'
		  FROM skene.outbox WHERE user_id = 'templated'}),
	'welcome-offer|hosted|f', 'is named, with the variables');

# Why there is no e-mail -----------------------------------------------------------------

$node->safe_psql('postgres', q{SELECT skene_consume('committed', 'quiet')});
prompted('committed', 'quiet',
	'limit_reached suppressed 1 the feature asks for no prompt 0', 'a feature without prompt');

$node->safe_psql('postgres', q{
	SELECT skene_consume('committed', 'broken'); SELECT skene_consume('templated', 'export')});
ok( $node->poll_query_until('postgres', q{
		SELECT state = 'failed' AND error <> '' FROM skene.prompts
		 WHERE user_id = 'committed' AND feature = 'broken'}),
	'a bad template: failed, with the error');
prompted('templated', 'export', 'limit_reached queued 1 1', 'which holds up nobody else');

$node->safe_psql('postgres', q{
	SELECT skene_consume('silent', 'export'), skene_consume('silent', 'export')});
prompted('silent', 'export',
	'limit_reached no_address 1 the customer has no e-mail address; skene_identify() adds one 0',
	'a customer without address');
$node->safe_psql('postgres', q{SELECT skene_identify('silent', 'silent@example.com')});
prompted('silent', 'export', 'limit_reached queued 1 1', 'gets the e-mail when the address comes');

# the address comes, uncommitted, while the prompt is written
$node->safe_psql('postgres', q{SELECT skene_consume('late', 'export')});
my $session = $node->background_psql('postgres');
$session->query_safe(q{BEGIN; SELECT skene_identify('late', 'late@example.com')});
$node->safe_psql('postgres', q{SELECT skene_consume('late', 'export')});
ok( $node->poll_query_until('postgres',
		q{SELECT state = 'no_address' FROM skene.prompts WHERE user_id = 'late'}),
	'an address that is not committed is not seen');
$session->query_safe('COMMIT');
$session->quit;
prompted('late', 'export', 'limit_reached queued 1 1', 'its commit sends the e-mail');

# A customer that was never admitted has no anchor to count its windows from, and is not
# prompted before it is known.
for my $feature (qw(report export export report))
{
	# more than the limit of export
	$node->safe_psql('postgres', qq{SELECT skene_consume('unknown', '$feature', 2)});
}
# a first use that rolls back takes its anchor with it
for (1 .. 3)
{
	$node->safe_psql('postgres', q{
		BEGIN; SELECT skene_consume('again', 'export'), skene_consume('again', 'export'); ROLLBACK});
}
$node->safe_psql('postgres', q{SELECT skene_identify('unknown', 'unknown@example.com')});
prompted('unknown', 'report', 'not_entitled queued 2 1', 'an unknown customer gets one e-mail');
prompted('unknown', 'export', 'limit_reached queued 2 1', 'for each feature');
$node->safe_psql('postgres', q{SELECT skene_consume('unknown', 'report')});
prompted('unknown', 'report', 'not_entitled queued 3 1', 'and no other now that it has an anchor');
$node->safe_psql('postgres', q{SELECT skene_identify('again')});
prompted('again', 'export', 'limit_reached no_address 3 '
	. 'the customer has no e-mail address; skene_identify() adds one 0', 'rolled back: 3 denials');
# A denial comes while the worker waits for a lock, a wait which swallows the wake-up.
# It must outlast deadlock_timeout, whose alarm would wake the worker once more.
customer('unheard');
$session = $node->background_psql('postgres');
my $logged = -s $node->logfile;
$session->query_safe(q{BEGIN; LOCK TABLE skene.prompts});
$node->safe_psql('postgres', q{SELECT skene_identify('silent', 'another@example.com')});
$node->wait_for_log(qr/still waiting for .*Lock on relation/, $logged);
$node->safe_psql('postgres', q{SELECT skene_consume('unheard', 'export')});
$session->query_safe('COMMIT');
$session->quit;
prompted('unheard', 'export', 'limit_reached queued 1 1', 'a denial during a lock wait is heard');

# a window that is over asks for nothing
$node->safe_psql('postgres', q{
	SELECT skene_consume('gone', 'export'), skene_consume('gone', 'export')});
wait_until($node, 'postgres',
	q{SELECT state = 'no_address' FROM skene.prompts WHERE user_id = 'gone'});
$node->safe_psql('postgres', q{
	UPDATE skene.prompts SET window_end = clock_timestamp() WHERE user_id = 'gone';
	SELECT skene_identify('gone', 'gone@example.com');
	SELECT skene_identify('after', 'after@example.com');
	SELECT skene_consume('after', 'export'), skene_consume('after', 'export')});
prompted('after', 'export', 'limit_reached queued 1 1', 'the worker has seen the new addresses');
is($node->safe_psql('postgres', q{SELECT state FROM skene.prompts WHERE user_id = 'gone'}),
	'no_address', 'a window that is over prompts nobody');

# Settings of the database ---------------------------------------------------------------

$node->safe_psql('postgres', q{
	CREATE TABLE public.isolation (level text);
	CREATE FUNCTION note_isolation() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO public.isolation VALUES (current_setting('transaction_isolation')); RETURN NULL; END $$;
	CREATE TRIGGER note_isolation AFTER INSERT ON skene.prompts FOR EACH ROW EXECUTE FUNCTION note_isolation();
	ALTER DATABASE postgres SET default_transaction_isolation = 'serializable'});
customer('serial');
$node->safe_psql('postgres', q{SELECT skene_consume('serial', 'export')});
prompted('serial', 'export', 'limit_reached queued 1 1', 'a database that is serializable by default');
is($node->safe_psql('postgres', 'SELECT DISTINCT level FROM isolation'),
	'read committed', 'does not make the worker so');

customer('closed');
$node->safe_psql('postgres', q{
	DROP TRIGGER note_isolation ON skene.prompts;
	ALTER DATABASE postgres RESET default_transaction_isolation;
	ALTER DATABASE postgres SET default_transaction_read_only = on});
$node->safe_psql('postgres', q{BEGIN READ WRITE; SELECT skene_consume('closed', 'export'); COMMIT});
wait_until($node, 'postgres', q{SELECT last_error ~ 'read-only' FROM skene_status()});
$node->safe_psql('postgres', q{
	BEGIN READ WRITE; ALTER DATABASE postgres RESET default_transaction_read_only; COMMIT});
prompted('closed', 'export', 'limit_reached queued 1 1', 'one that is read only for a while gets its prompts later');

# Ten thousand denials ---------------------------------------------------------------------

$node->pgbench(
	'--no-vacuum --client=10 --jobs=2 --transactions=1000 --protocol=prepared',
	0, [qr{processed: 10000/10000}], [qr{^$}], 'ten thousand denials',
	{ 'denied' => q{SELECT skene_consume('busy', 'export');} });
prompted('busy', 'export', 'limit_reached queued 10000 1', 'one prompt, one e-mail, every denial counted');
$node->restart;
wait_until($node, 'postgres', "SELECT worker = 'running' FROM skene_status()");
$node->safe_psql('postgres', q{SELECT skene_consume('busy', 'export')});
prompted('busy', 'export', 'limit_reached queued 10001 1', 'once: the next one adds one, also after a restart');
is($node->safe_psql('postgres', 'SELECT notes_lost FROM skene.worker_status'), '0', 'no denial was lost');

done_testing();
