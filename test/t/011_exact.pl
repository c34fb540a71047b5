# Exact under load: a table of windows that is far too small, changes by hand and rewrites
# of the tables meanwhile, bursts, one statement for thousands of customers.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# SKENE_SOAK=N: so many times as long.
my $soak = $ENV{SKENE_SOAK} || 1;

my $features = q{SELECT count(*) FROM skene_apply('{"features": {
	"job": {"limit": {"free": 3}, "period": "30d"},
	"mail": {"limit": {"free": 1000000}, "period": "30d"}}}');
	CREATE TABLE jobs (customer text NOT NULL, feature text NOT NULL, units bigint NOT NULL)};

sub server
{
	my ($name, $settings) = @_;
	my $node = new_server($name);
	$node->append_conf('postgresql.conf', "max_connections = 100\n$settings");
	$node->start;
	install($node);
	$node->safe_psql('postgres', $features);
	return $node;
}

# Test that usage is what was committed with jobs, and nothing is left in flight.
sub is_exact
{
	my ($node, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->safe_psql('postgres', q{
			SELECT j.*, u.used FROM (SELECT customer, feature, sum(units) AS units FROM jobs GROUP BY 1, 2) AS j
			  FULL JOIN skene.usage_totals u ON u.user_id = j.customer AND u.feature = j.feature
			 WHERE coalesce(j.units, 0) <> coalesce(u.used, 0)}),
		'', "$test: usage is what was committed");
	is( $node->safe_psql('postgres', q{SELECT * FROM skene.usage_totals WHERE feature = 'job' AND used > 3}),
		'', "$test: never above the limit");
	is($node->safe_psql('postgres', 'SELECT * FROM skene_audit()'), '', "$test: counters agree with rows");
	return is($node->safe_psql('postgres', 'SELECT reservations FROM skene.window_stats()'),
		0, "$test: nothing is in flight");
}

# Run a pgbench script with 64 clients; meanwhile call a sub, again and again.
sub under_load
{
	my ($node, $script, $transactions, $meanwhile) = @_;
	my $file = $node->basedir . '/load.sql';
	unlink $file;
	append_to_file($file, $script);
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port);
	my $load = IPC::Run::start(
		[
			qw(pgbench --no-vacuum --client=64 --jobs=2 --max-tries=10000 --file), $file,
			'--transactions', $transactions * $soak, 'postgres'
		],
		'<', \undef, '>', \my $stdout, '2>', \my $stderr,
		IPC::Run::timeout($soak * $PostgreSQL::Test::Utils::timeout_default));
	while ($load->pumpable)
	{
		$load->pump_nb;
		$meanwhile->();
	}
	$load->finish;
	# transactions that wait for each other's units are tried again; nothing else fails
	return like($stdout, qr/number of failed transactions: 0 /, 'no transaction failed')
	  || diag($stderr);
}

# 5,000 customers, most near their limits, some transactions rolled back.
my $near_limits = <<'SQL';
\set customer random_zipfian(1, 5000, 1.05)
\set fate random(1, 4)
BEGIN;
INSERT INTO jobs SELECT :customer, 'job', 1 WHERE skene_consume(:customer::text, 'job');
SAVEPOINT s;
INSERT INTO jobs SELECT :customer, 'job', 1 WHERE skene_consume(:customer::text, 'job');
\if :fate = 1
ROLLBACK;
\elif :fate = 2
ROLLBACK TO s;
COMMIT;
\else
COMMIT;
\endif
SQL

my $node = server('tiny', 'skene_gate.max_windows = 64');
my ($audits, $complaints) = (0, '');
under_load($node, $near_limits, 60, sub {
	$complaints .= $node->safe_psql('postgres', 'SELECT * FROM skene_audit()');
	$audits++;
});
is($complaints, '', 'the auditor has nothing to say while a tiny table is used');
cmp_ok($audits, '>', 0, 'and was asked');
is_exact($node, 'tiny table');
cmp_ok($node->safe_psql('postgres', 'SELECT evictions FROM skene.window_stats()'),
	'>', 1000, 'windows were evicted');
is( $node->safe_psql('postgres', q{
		SELECT count(skene_consume(c, 'job')) FROM generate_series(1, 20) c, generate_series(1, 4);
		SELECT DISTINCT used FROM skene.usage_totals
		 WHERE feature = 'job' AND user_id IN (SELECT c::text FROM generate_series(1, 20) c)}),
	"80\n3", 'what was given back can be used');
my ($status, $stdout, $stderr) = $node->psql('postgres',
	q{\set VERBOSITY sqlstate
	SELECT count(*) FROM generate_series(1, 100) c WHERE skene_consume('t' || c, 'mail')});
like($stderr, qr/ERROR:  53400/, 'more customers in one transaction than windows are an error');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM skene.usage_totals WHERE user_id LIKE 't%'}),
	0, 'and nothing of it is counted');
is($node->safe_psql('postgres', q{SELECT skene_consume('t100', 'mail')}), 't', 'and all goes on');
$node->stop;

# Everything that others may do to the tables, while they are used and folded.
$node = server('ours', "skene_gate.fold_interval = 20");
my $snapshot = IPC::Run::start(
	[ 'psql', '-XAtq', $node->connstr('postgres') ],
	'<', \my $held, '>', \my $shown, '2>', \my $ignored,
	IPC::Run::timeout($soak * $PostgreSQL::Test::Utils::timeout_default));
$held = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class; SELECT 'held';\n";
$snapshot->pump until $shown =~ /held/;
my @by_hand = (
	'UPDATE skene.usage SET used = used',
	'UPDATE skene.usage_events SET amount = amount',
	'VACUUM FULL skene.usage_events',
	'BEGIN; TRUNCATE skene.usage_events; ROLLBACK',
	'BEGIN; SAVEPOINT s; DELETE FROM skene.usage; ROLLBACK TO s; COMMIT',
	'VACUUM FULL skene.usage',
	'BEGIN; DELETE FROM skene.usage_events; ROLLBACK',
	"SELECT skene_set_plan('1', 'free')",
	'SELECT * FROM skene_audit()');
my @said;
under_load($node, $near_limits =~ s/5000/50/r =~ s/^INSERT INTO jobs SELECT :customer, 'job', 1 WHERE.*\n//mr
	  . "BEGIN; INSERT INTO jobs SELECT 'm', 'mail', 1 WHERE skene_consume('m', 'mail'); COMMIT;\n", 40, sub {
	push @by_hand, my $step = shift @by_hand;
	my ($status, $stdout, $stderr) = $node->psql('postgres', $step, extra_params => ['-q']);
	# whoever locks what others hold may be the one to give up
	push @said, "$step: $stdout$stderr" if $stdout ne '' || $stderr !~ /^(|.*deadlock detected.*)$/s;
});
is("@said", '', 'changes by hand, rewrites and audits go through beside the load');
$snapshot->kill_kill;
is_exact($node, 'changes by hand');

is( $node->safe_psql('postgres', q{
		SELECT count(*) FROM generate_series(1, 10000) c WHERE skene_consume('n' || c, 'mail')}),
	10000, 'one statement counts for 10,000 new customers');
is( $node->safe_psql('postgres', q{SELECT sum(used) FROM skene.usage_totals WHERE user_id LIKE 'n%'}),
	10000, 'each once');
wait_until($node, 'postgres', q{SELECT count(*) = 10000 FROM skene.customers WHERE user_id LIKE 'n%'});
pass('their rows are made');
# The second burst finds room that the fold has freed.
$node->safe_psql('postgres', q{SELECT skene_identify('burst', 'burst@example.com')});
for my $burst (1 .. 2)
{
	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM generate_series(1, 100000) WHERE skene_consume('burst', 'mail')}),
		100000, "burst $burst of 100,000 events");
	wait_until($node, 'postgres', 'SELECT count(*) = 0 FROM skene.usage_events');
	is( $node->safe_psql('postgres', q{SELECT used FROM skene.usage WHERE user_id = 'burst'}),
		100000 * $burst, "burst $burst is folded");
	$node->safe_psql('postgres', 'VACUUM skene.usage_events');
}
is($node->safe_psql('postgres', 'SELECT * FROM skene_audit()'), '', 'counters agree with rows');

done_testing();
