# Dump, restore, clone and publish: every row survives, a copy sends nothing until
# somebody says that it is the one to send, and a publication breaks nothing.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

start_resend();
my $node = new_server('dump', allows_streaming => 'logical');
use_resend($node);
$node->append_conf('postgresql.conf', "skene_gate.delivery = 'off'");
# what is counted here stays unfolded, so that both tables have rows
$node->append_conf('postgresql.conf', "skene_gate.fold_interval = '1h'");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE source');
install($node, 'source');

# Have a prompt enqueued for a new customer.
sub enqueue
{
	my ($database, $user) = @_;
	$node->safe_psql($database, qq{
		SELECT skene_identify('$user', '$user\@example.com');
		SELECT skene_consume('$user', 'export'), skene_consume('$user', 'export')});
	wait_until($node, $database, "SELECT count(*) = 1 FROM skene.outbox WHERE user_id = '$user'");
	return;
}

# A query for each of the extension's relations of a kind, their results in one list.
sub of_each
{
	my ($database, $kind, $format) = @_;
	my $query = $node->safe_psql($database, qq{
		SELECT string_agg(format(\$format\$$format\$format\$, relname), ' UNION ALL ' ORDER BY relname)
		  FROM pg_class WHERE relnamespace = 'skene'::regnamespace AND relkind = '$kind'
		   AND relname <> 'instance'});
	return $node->safe_psql($database, $query);
}

# Number and digest of the rows of every table but instance, which tells copies apart.
sub rows_of
{
	my ($database) = @_;
	return of_each($database, 'r',
		q{SELECT '%1$s', count(*), md5(string_agg(t::text, E'\n' ORDER BY t::text COLLATE "C"))
		    FROM skene.%1$I AS t});
}

sub sequences_of
{
	my ($database) = @_;
	return of_each($database, 'S', q{SELECT '%1$s', last_value, is_called FROM skene.%1$I});
}

sub state_of
{
	my ($database, $user) = @_;
	return $node->safe_psql($database, "SELECT state FROM skene.outbox WHERE user_id = '$user'");
}

sub comes_to_be
{
	my ($database, $user, $state, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until($database,
		"SELECT state FROM skene.outbox WHERE user_id = '$user'", $state), $test);
}

# Test that a copy with delivery on is fenced. The prompt of a second denial shows that
# the worker has been through its outbox since the first one.
sub is_fenced
{
	my ($database, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $requests = resend_requests();
	enqueue($database, "${database}_$_") for 1, 2;
	is( $node->safe_psql($database, 'SELECT fenced, delivery, worker FROM skene_status()'),
		't|on|running', $test);
	is( $node->safe_psql($database,
			q{SELECT string_agg(DISTINCT state, ' ') FROM skene.outbox WHERE user_id <> 'sent'}),
		'pending', 'its messages stay pending');
	return is(scalar(resend_requests()), $requests, 'and nothing is sent');
}

# Something in every table -------------------------------------------------------------

$node->safe_psql('source', q{
	SELECT count(*) FROM skene_apply($$ { "templates": {
	    "upgrade_prompt": { "subject": "Our own", "text": "Hello {{name}}" } } } $$);
	SELECT skene_identify('ada', 'ada@example.com', 'Ada', '{"k": "a\tb"}');
	SELECT skene_consume('ada', 'export', 1, 'key-1');
	SELECT skene_override('ada', 'export', 7);
	SELECT skene_set_plan('paid', 'pro');
	SELECT skene_consume('silent', 'export'), skene_consume('silent', 'export');
	SELECT skene_pause('stripe');
	INSERT INTO skene.grants (user_id, feature, amount) VALUES ('ada', 'export', 5);
	INSERT INTO skene.usage_events (user_id, feature, period, window_start, window_end, amount)
	    VALUES ('eve', 'export', '30d', '2026-01-01 UTC', '2026-01-31 UTC', 2);
	INSERT INTO skene.usage VALUES ('eve', 'export', 'lifetime', '-infinity', 'infinity', 3);
	INSERT INTO skene.webhook_events (provider, event_id, event_type, created_at, livemode, result)
	    VALUES ('stripe', 'evt_1', 'customer.subscription.created', now(), false, 'applied')});
wait_until($node, 'source', q{SELECT state = 'no_address' FROM skene.prompts WHERE user_id = 'silent'});
enqueue('source', $_) for qw(sent waiting);
$node->safe_psql('source', q{UPDATE skene.outbox SET state = 'sent' WHERE user_id = 'sent'});
my $rows = rows_of('source');
unlike($rows, qr/\|0\|/, 'no table is empty');

# Dump and restore, by an owner who is no superuser ----------------------------------------

$node->safe_psql('source', 'CREATE ROLE keeper LOGIN; ALTER DATABASE source OWNER TO keeper');
my $dump = $node->basedir . '/source.dump';
my @dump = ('pg_dump', '--format=custom', "--file=$dump", $node->connstr('source') . ' user=keeper');
command_fails_like(\@dump, qr/permission denied|lack SELECT privilege/, 'pg_dump needs rights');
$node->safe_psql('source', q{SELECT skene_grant_role('keeper', 'backup')});
$node->command_ok(\@dump, 'the kind backup has them');

$node->safe_psql('postgres', q{CREATE DATABASE restored;
	ALTER DATABASE restored SET skene_gate.delivery = 'on'});
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ],
	'pg_restore, with delivery on');
is(rows_of('restored'), $rows, 'every row of every table is back');
is(sequences_of('restored'), sequences_of('source'), 'sequences go on where they were');
is( $node->safe_psql('restored', q{
		SELECT string_agg(subject, ', ' ORDER BY builtin) FROM skene.templates
		 WHERE template = 'upgrade_prompt'}),
	'Our own, You have reached your {{feature}} limit', 'so do templates, ours and the built-in one');
worker_runs($node, 'restored', 'a worker runs there');
is_fenced('restored', 'a restored database is fenced');
is(rows_of('source'), $rows, 'the source is as it was');

$node->safe_psql('restored', 'SELECT skene_resume()');
comes_to_be('restored', "restored_$_", 'sent', 'resumed: its own message is sent') for 1, 2;
enqueue('restored', 'new');
comes_to_be('restored', 'new', 'sent', 'so is a new one');
is(state_of('restored', 'waiting'), 'pending', 'one of the source is not');
$node->safe_psql('restored',
	q{SELECT skene_retry(outbox_id) FROM skene.outbox WHERE user_id = 'waiting'});
comes_to_be('restored', 'waiting', 'sent', 'unless retried');
is($node->safe_psql('restored', 'SELECT fenced, pending FROM skene_status()'), 'f|0', 'no fence is left');

# Clone, and a dump that brings delivery = on ------------------------------------------------

$node->safe_psql('postgres', q{CREATE DATABASE clone TEMPLATE source});
$node->safe_psql('postgres', q{ALTER DATABASE clone SET skene_gate.delivery = 'on'});
worker_runs($node, 'clone', 'a clone has a worker');
is_fenced('clone', 'and is fenced');
$node->safe_psql('clone', 'SELECT skene_resume()');
comes_to_be('clone', 'clone_1', 'sent', 'until it is resumed');

$node->safe_psql('source', 'SELECT skene_pause()');
$node->safe_psql('postgres', q{ALTER DATABASE source SET skene_gate.delivery = 'on'});
my $script = $node->basedir . '/source.sql';
$node->command_ok([ 'pg_dump', '--create', "--file=$script", $node->connstr('source') ], 'pg_dump --create');
$node->safe_psql('postgres', 'ALTER DATABASE source RENAME TO original');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $script, $node->connstr('postgres') ],
	'restored beside it');
$node->safe_psql('source', 'DELETE FROM skene.pauses');
worker_runs($node, 'source', 'a worker runs there');
is_fenced('source', 'fenced, though the dump says delivery = on');
is($node->safe_psql('original', 'SELECT fenced FROM skene_status()'), 'f', 'the original is not');
$node->safe_psql('original', 'SELECT skene_resume()');
comes_to_be('original', 'waiting', 'sent', 'and sends');

# A publication of all tables -------------------------------------------------------------------

$node->safe_psql('original', q{
	CREATE PUBLICATION everything FOR ALL TABLES;
	DO $$
	DECLARE
	    changed record;
	BEGIN
	    FOR changed IN
	        SELECT a.attrelid::regclass AS relation, min(a.attname) AS attribute
	          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	         WHERE c.relnamespace = 'skene'::regnamespace AND c.relkind = 'r'
	           AND a.attnum > 0 AND a.attidentity = ''
	         GROUP BY a.attrelid
	    LOOP
	        EXECUTE format('UPDATE %s SET %2$I = %2$I', changed.relation, changed.attribute);
	    END LOOP;
	END $$});
pass('every table can be updated under a publication of all tables');
enqueue('original', 'published');
comes_to_be('original', 'published', 'sent', 'prompts are written and sent');
is( $node->safe_psql('original', q{
		SELECT skene_refund('published', 'export');
		SELECT skene_set_plan('paid', NULL);
		SELECT count(*) FROM skene_apply('{"plans": {"free": {"default": true}}}', prune => true)
		 WHERE object = 'plan' AND action = 'remove';
		INSERT INTO skene.instance VALUES (1, 1);
		SELECT skene_resume()}),
	"0\n\n1\n", 'usage, plans, configuration and fence change');

# old keys go when the worker looks for them, which it does at its start
$node->safe_psql('original', q{
	UPDATE skene.idempotency_keys SET created_at = created_at - interval '1 year'});
$node->restart;
ok($node->poll_query_until('original', 'SELECT count(*) = 0 FROM skene.idempotency_keys'),
	'old idempotency keys are removed');

done_testing();
