# Crashes: usage is what committed transactions consumed, neither more nor less, and
# prompts go on.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('crash');
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->start;
install($node);
$node->safe_psql('postgres', q{
	SELECT count(*) FROM skene_apply('{"features": {"job": {"limit": {"free": 1000000}, "period": "30d"}}}');
	CREATE TABLE jobs (customer text NOT NULL, units bigint NOT NULL)});

# Three of four transactions commit; one counts in a savepoint that it rolls back.
my $script = $node->basedir . '/jobs.sql';
append_to_file($script, <<'SQL');
\set customer random(1, 4)
\set units random(1, 3)
\set fate random(1, 4)
BEGIN;
INSERT INTO jobs SELECT :customer, :units WHERE skene_consume(:customer::text, 'job', :units);
\if :fate = 1
ROLLBACK;
\else
SAVEPOINT s;
SELECT skene_consume(:customer::text, 'job', 5);
ROLLBACK TO s;
COMMIT;
\endif
SQL

# Run jobs in the background until some more have committed; returns their process.
my $stderr = '';
sub start_jobs
{
	my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM jobs');
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGAPPNAME => 'jobs');
	my $jobs = IPC::Run::start(
		[ qw(pgbench --no-vacuum --client=8 --time=600 --file), $script, 'postgres' ],
		'<', \undef, '>', \my $stdout, '2>', \$stderr,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	wait_until($node, 'postgres', "SELECT count(*) > $before + 100 FROM jobs");
	return $jobs;
}

# Test that the server is back with what was committed, and that it still gates.
my $customers = 0;
sub is_exact
{
	my ($after) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(poll($node, 'postgres', "SELECT worker = 'running' FROM skene_status()"),
		"$after: the worker is back");
	is( $node->safe_psql('postgres', q{
			SELECT user_id, used FROM skene.usage_totals WHERE feature = 'job' ORDER BY user_id}),
		$node->safe_psql('postgres', q{
			SELECT customer, sum(units) FROM jobs GROUP BY customer ORDER BY customer}),
		"$after: usage is what was committed");
	my $user = 'u' . ++$customers;
	is( $node->safe_psql('postgres', qq{
			SELECT skene_identify('$user', '$user\@example.com');
			SELECT skene_consume('$user', 'export'), skene_consume('$user', 'export')}),
		"\nt|f", "$after: the gate works");
	return ok( $node->poll_query_until('postgres',
			"SELECT count(*) = 1 FROM skene.mailbox WHERE user_id = '$user' AND state = 'captured'"),
		"$after: so do prompts");
}

my $jobs = start_jobs();
my $pid = $node->safe_psql('postgres',
	q{SELECT pid FROM pg_stat_activity WHERE application_name = 'jobs' LIMIT 1});
kill 'KILL', $pid;
$jobs->finish;
like($stderr, qr/server closed the connection|aborted/, 'a killed backend ends every session');
is_exact('killed backend');

$jobs = start_jobs();
$node->stop('immediate');
$jobs->finish;
$node->start;
is_exact('immediate stop');

$jobs = start_jobs();
kill 'KILL', worker_pid($node, 'postgres');
$jobs->finish;
is_exact('killed worker');

done_testing();
