# What an application's own tests rely on: time travel, also of the worker; transactions
# that roll back leave no prompts behind; skene_reset; databases cloned side by side.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('users');
$node->append_conf('postgresql.conf', 'skene_gate.max_windows = 64');
$node->start;
install($node);
$node->safe_psql('postgres', q{
	SELECT count(*) FROM skene_apply($$ {
	    "features": { "report": { "limit": { "pro": null }, "period": "30d" } } } $$)});

# Have a customer who exists denied, and test that it is prompted: so the worker has been
# through all notes that were there before.
sub prompted
{
	my ($user, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->safe_psql('postgres', qq{
		SELECT skene_identify('$user', '$user\@example.com');
		SELECT skene_consume('$user', 'report')});
	return has_prompt($user, $test);
}

sub has_prompt
{
	my ($user, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok( $node->poll_query_until('postgres', qq{
			SELECT count(*) = 1 FROM skene.mailbox WHERE user_id = '$user' AND state = 'captured'}),
		$test);
}

# Move the clock of the server, and with it the worker's.
sub travel
{
	my ($offset) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET skene_gate.clock_offset = '$offset'");
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	return;
}

# Customers who never came to be ---------------------------------------------------------

my $rolled_back = q{
	BEGIN;
	SELECT skene_identify('ghost', 'ghost@example.com');
	SELECT skene_consume('ghost', 'export'), skene_consume('ghost', 'export');
	ROLLBACK};
$node->safe_psql('postgres', $rolled_back);
$node->safe_psql('postgres', q{SELECT skene_consume('stranger', 'report')});

my $session = $node->background_psql('postgres');
$session->query_safe(q{
	BEGIN;
	SELECT skene_identify('late', 'late@example.com');
	SELECT skene_consume('late', 'report')});
prompted('known', 'a customer who exists is prompted');
$session->query_safe('COMMIT');
has_prompt('late', 'one whose row commits after the worker looked for it is, too');

travel('2min');
ok( $node->poll_query_until('postgres',
		q{SELECT denials_dropped = 2 FROM skene.worker_status}),
	'after a minute the denials of those who do not exist are dropped, and counted');
is($node->safe_psql('postgres', 'SELECT denials_dropped FROM skene_status()'), '2', 'skene_status shows it');
is( $node->safe_psql('postgres', q{SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM skene.prompts}),
	'known late', 'they have no prompts');
$node->safe_psql('postgres', q{
	SELECT skene_identify('ghost', 'ghost@example.com');
	SELECT skene_consume('ghost', 'export'), skene_consume('ghost', 'export')});
has_prompt('ghost', 'one who comes to be later is prompted by the next denial');
is($node->safe_psql('postgres', q{SELECT denials FROM skene.prompts WHERE user_id = 'ghost'}), '1', 'for it alone');

# Known by a subscription, an override or usage alone.
$node->safe_psql('postgres', q{
	SELECT skene_set_plan('subscribed', 'free'), skene_override('overridden', 'export', 0);
	SELECT skene_consume('counted', 'export'), skene_consume('counted', 'export');
	SELECT skene_consume('subscribed', 'report'), skene_consume('overridden', 'report')});
ok( $node->poll_query_until('postgres', q{
		SELECT string_agg(user_id, ' ' ORDER BY user_id) = 'counted overridden subscribed'
		  FROM skene.prompts WHERE state = 'no_address'}),
	'customers without an identity exist, too');

# Strangers fill the shared memory for notes; customers are prompted nonetheless.
my $begun = time;
$node->safe_psql('postgres', q{
	SELECT skene_identify('crowded', 'crowded@example.com');
	SELECT count(skene_consume('stranger-' || i, 'report')) FROM generate_series(1, 200) AS i});
ok( $node->poll_query_until('postgres', q{
		SELECT skene_consume('crowded', 'report')
		    OR EXISTS (SELECT FROM skene.mailbox WHERE user_id = 'crowded')}),
	'strangers do not crowd out a customer');
cmp_ok(time - $begun, '<', 40, 'who does not wait for them to be dropped');

# Time travel -----------------------------------------------------------------------------

# a session travels alone; its prompts are written at once
$node->safe_psql('postgres', q{
	SELECT skene_reset();
	SELECT skene_identify('ada', 'ada@example.com');
	SELECT skene_consume('ada', 'export', 1, 'key'), skene_consume('ada', 'export');
	SET skene_gate.clock_offset = '31d';
	SELECT skene_consume('ada', 'export'), skene_consume('ada', 'export')});
ok( $node->poll_query_until('postgres', q{
		SELECT count(*) = 2 AND count(*) FILTER (WHERE window_start > now() + interval '29 days') = 1
		  FROM skene.prompts WHERE user_id = 'ada' AND state = 'queued'}),
	'each window has its prompt');

is($node->safe_psql('postgres', 'SELECT count(*) FROM skene.idempotency_keys'), '1', 'a key is kept');
travel('31d');
ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM skene.idempotency_keys'),
	'until the worker travels past its retention');
is( $node->safe_psql('postgres', q{SELECT skene_consume('stranger', 'report')}), 'f', 'a stranger is denied');
prompted('bob', 'the worker prompts on its travel');
is( $node->safe_psql('postgres', q{
		SELECT created_at > now() + interval '30 days', settled_at > created_at
		  FROM skene.mailbox WHERE user_id = 'bob'}),
	't|t', 'then');

travel(0);
$node->safe_psql('postgres', q{SELECT skene_identify('stranger', 'stranger@example.com')});
has_prompt('stranger', 'back in the present no note waits for the future');

my $pid = worker_pid($node, 'postgres');
$node->safe_psql('postgres', q{ALTER DATABASE postgres SET skene_gate.clock_offset = '31d'});
worker_runs($node, 'postgres', 'an offset of the database restarts its worker', $pid);
prompted('eve', 'which prompts');
is( $node->safe_psql('postgres', q{
		SELECT created_at > now() + interval '30 days' FROM skene.mailbox WHERE user_id = 'eve'}),
	't', 'in its own time');

# delivery on: refused where somebody asks for it, without effect where it is written down
my (undef, undef, $stderr) = $node->psql('postgres', q{
	SET skene_gate.delivery = 'on';
	ALTER DATABASE postgres SET skene_gate.clock_offset = '62d'});
like($stderr, qr/cannot be moved while skene_gate.delivery is on/, 'refused for a database that sends');
$node->safe_psql('postgres', q{ALTER DATABASE postgres SET skene_gate.delivery = 'on'});
is( $node->safe_psql('postgres', q{
		SELECT current_setting('skene_gate.clock_offset'), current_setting('skene_gate.delivery'),
		       skene.gate_time() - clock_timestamp() < interval '1 s'}),
	'31d|on|t', 'of two that contradict each other, delivery wins');
$pid = worker_pid($node, 'postgres');
$node->safe_psql('postgres', q{
	ALTER DATABASE postgres RESET skene_gate.clock_offset;
	ALTER DATABASE postgres RESET skene_gate.delivery});
worker_runs($node, 'postgres', 'settled', $pid);

# skene_reset, whatever the worker is doing -------------------------------------------------

# a prompt that the worker is about to commit when the reset begins
$session->query_safe('BEGIN; LOCK TABLE skene.templates');
$node->safe_psql('postgres', q{SELECT skene_consume('eve', 'export'), skene_consume('eve', 'export')});
wait_until($node, 'postgres', q{
	SELECT wait_event_type = 'Lock' FROM pg_stat_activity
	 WHERE backend_type = 'skene_gate worker' AND datname = 'postgres'});
my $reset = $node->background_psql('postgres');
$reset->query_until(qr/begun/, "\\echo begun\nSELECT skene_reset();\n\\echo done\n");
ok( $node->poll_query_until('postgres', q{
		SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE query = 'SELECT skene_reset();'}),
	'a reset waits for the worker');
$session->query_safe('COMMIT');
$reset->quit;
is($node->safe_psql('postgres', 'SELECT count(*) FROM skene.prompts'), '0', 'and forgets what it wrote');

# a fold that is about to commit; done by hand, so that it stops there
$node->safe_psql('postgres', q{ALTER SYSTEM SET skene_gate.fold_interval = '1h'});
$node->reload;
$node->safe_psql('postgres', q{SELECT skene_identify('folded', 'f@example.com'); SELECT skene_consume('folded', 'export')});
$session->query_safe(q{
	BEGIN; LOCK TABLE skene.usage_events IN SHARE ROW EXCLUSIVE MODE;
	WITH gone AS (DELETE FROM skene.usage_events WHERE user_id = 'folded' RETURNING *)
	INSERT INTO skene.usage (user_id, feature, period, window_start, window_end, used)
	SELECT user_id, feature, period, window_start, window_end, amount FROM gone});
$reset = $node->background_psql('postgres');
$reset->query_until(qr/begun/, "\\echo begun\nSELECT skene_reset('folded');\n\\echo done\n");
wait_until($node, 'postgres', q{
	SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE query LIKE 'SELECT skene_reset(''folded%'});
$session->query_safe('COMMIT');
$reset->quit;
is($node->safe_psql('postgres', q{SELECT count(*) FROM skene.usage_totals WHERE user_id = 'folded'}),
	'0', 'usage is forgotten while it is folded');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET skene_gate.fold_interval');
$node->reload;

$node->safe_psql('postgres', q{
	SELECT count(skene_identify('pgbench-' || i, 'p@example.com')) FROM generate_series(0, 3) AS i});
$node->pgbench(
	'--no-vacuum --client=4 --jobs=2 --transactions=100',
	0, [qr{processed: 400/400}], [qr{^$}], 'deny and reset, over and over',
	{ 'deny_and_reset' => q{
		SELECT skene_consume('pgbench-' || :client_id, 'report');
		SELECT skene_reset('pgbench-' || :client_id); } });
$node->safe_psql('postgres', 'SELECT skene_reset()');
prompted('after', 'prompts go on after a reset');
is( $node->safe_psql('postgres', q{
		SELECT (SELECT string_agg(user_id, ' ') FROM skene.prompts),
		       (SELECT string_agg(user_id, ' ') FROM skene.outbox)}),
	'after|after', 'and none comes of a denial before it');

# Clones, side by side ----------------------------------------------------------------------

# Run commands on the server all at once; returns what they complained about.
sub at_once
{
	my (@commands) = @_;
	my (@running, @complaints);
	for my $command (@commands)
	{
		push @complaints, '';
		push @running, IPC::Run::start(
			[ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', $command ],
			'<', \undef, '>', \my $stdout, '2>', \$complaints[-1],
			IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	}
	$_->finish for @running;
	return join '', @complaints;
}

$node->safe_psql('postgres', 'CREATE DATABASE app');
install($node, 'app');
for my $round (1 .. 3)
{
	is(at_once(map { "CREATE DATABASE app_$_ TEMPLATE app" } 1 .. 4), '', 'four clones at once');
	workers_are($node, 'app app_1 app_2 app_3 app_4 postgres', 'each has a worker, the original again');
	is(at_once(map { "DROP DATABASE app_$_" } 1 .. 4), '', 'dropped at once');
}

# one that ends must not let the worker in on another that is still at it
my $state = q{SELECT state FROM skene.worker_slots() WHERE database_oid =
              (SELECT oid FROM pg_database WHERE datname = 'app')};
$session->query_safe('BEGIN; ALTER DATABASE app RENAME TO renamed');
is($node->safe_psql('postgres', $state), 'barred', 'RENAME bars the worker');
(undef, undef, $stderr) =
  $node->psql('postgres', q{SET lock_timeout = '10ms'; ALTER DATABASE app RENAME TO other});
like($stderr, qr/lock timeout/, 'a second one gives up');
is($node->safe_psql('postgres', $state), 'barred', 'which leaves the bar of the first');
$session->query_safe('ROLLBACK');
$session->quit;
workers_are($node, 'app postgres', 'the worker comes back after the last');

unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile),
	qr/could not write a prompt|deadlock|could not start a worker/, 'the log is clean');

done_testing();
