# An error at each step of counting, alone and under load, gives back what was reserved
# until then, and only that; one in the middle of the fold neither loses nor doubles a unit.
# Needs a server built with injection points (make check-memory builds one).
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('injection');
$node->append_conf('postgresql.conf', 'skene_gate.max_windows = 64');
$node->start;
plan skip_all => 'this server has no injection points'
  unless $node->safe_psql('postgres',
	"SELECT count(*) FROM pg_available_extensions WHERE name = 'injection_points'");
install($node);
$node->safe_psql('postgres', q{
	CREATE EXTENSION injection_points;
	SELECT count(*) FROM skene_apply('{"features": {"job": {"limit": {"free": 1000000}, "period": "30d"}}}');
	CREATE TABLE jobs (customer text NOT NULL, units bigint NOT NULL);
	-- an extension's function that fails is caught like any statement
	CREATE FUNCTION try(statement text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE statement;
		RETURN 'done';
	EXCEPTION WHEN internal_error THEN
		RETURN sqlerrm;
	END $$});

# Test that usage is what was committed with jobs, and nothing is left in flight.
sub is_exact
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->safe_psql('postgres', q{
			SELECT j.*, u.used FROM (SELECT customer, sum(units) AS units FROM jobs GROUP BY 1) AS j
			  FULL JOIN (SELECT user_id, used FROM skene.usage_totals WHERE feature = 'job') u ON u.user_id = j.customer
			 WHERE coalesce(j.units, 0) <> coalesce(u.used, 0)}),
		'', "$test: usage is what was committed");
	is($node->safe_psql('postgres', 'SELECT * FROM skene_audit()'), '', "$test: counters agree with rows");
	return is($node->safe_psql('postgres', 'SELECT reservations FROM skene.window_stats()'),
		0, "$test: nothing is in flight");
}

# One session: a unit before, the error in a savepoint, and the same again without it.
my %calls = (
	(map { $_ => q{skene_consume('ada', 'job', 1, 'key')} }
		qw(opened resolved entered loaded reserved claimed inserted recorded)),
	'given-back' => q{skene_refund('ada', 'job', 2)});
for my $point (sort keys %calls)
{
	my $units = $point eq 'given-back' ? -2 : 1;
	my $session = $node->background_psql('postgres');
	$session->query_safe('SELECT injection_points_set_local()');
	# a customer that nobody has loaded yet
	(my $call = $calls{$point}) =~ s/ada/ada $point/;
	$node->safe_psql('postgres', "SELECT skene_set_usage('ada $point', 'job', 4);
		INSERT INTO jobs VALUES ('ada $point', 4), ('ada $point', $units)");
	wait_until($node, 'postgres', 'SELECT NOT EXISTS (SELECT FROM skene.usage_events)');
	$node->safe_psql('postgres', q{UPDATE skene.usage SET used = used WHERE user_id LIKE 'ada%'}); # all are read anew
	$session->query_safe("SELECT injection_points_attach('skene-gate-$point', 'error')");
	like($session->query_safe("SELECT try(\$\$SELECT $call\$\$)"),
		qr/error triggered for injection point skene-gate-$point/, "error when $point");
	$session->query_safe("BEGIN; SELECT try(\$\$SELECT $call\$\$)");
	$session->query_safe("SELECT injection_points_detach('skene-gate-$point')");
	$session->query_safe("SELECT $call; COMMIT");
	is($node->safe_psql('postgres', "SELECT used FROM skene_usage('ada $point') WHERE feature = 'job'"), 4 + $units,
		"the same call succeeds after it when $point");
	is_exact("error when $point");
	$session->quit;
}

# Load: errors come and go; what fails leaves no job.
my $script = $node->basedir . '/load.sql';
append_to_file($script, q{
	\set customer random(1, 200)
	SELECT try(format($$ WITH admitted AS MATERIALIZED (SELECT skene_consume('c' || %1$s, 'job', 2) AS yes)
		INSERT INTO jobs SELECT 'c' || %1$s, 2 FROM admitted WHERE yes $$, :customer));
});
my %runs = (PGHOST => $node->host, PGPORT => $node->port);
{
	local %ENV = (%ENV, %runs);
	my $load = IPC::Run::start(
		[ qw(pgbench --no-vacuum --client=8 --transactions=400 --file), $script, 'postgres' ],
		'<', \undef, '>', \my $stdout, '2>', \my $stderr);
	my @points = (grep({ $_ ne 'given-back' } sort keys %calls), 'folded', 'customers-made');
	my $failures = 0;
	while ($load->pumpable)
	{
		my $point = "skene-gate-$points[$failures++ % @points]";
		$node->safe_psql('postgres', "SELECT injection_points_attach('$point', 'error');
			SELECT pg_sleep(0.01); SELECT injection_points_detach('$point')");
		$load->pump_nb;
	}
	ok($load->finish, "load goes on among $failures errors") or diag $stderr;
	cmp_ok($failures, '>', @points, 'every step was hit');
}
is_exact('load among errors');
$node->stop('immediate');
$node->start;
wait_until($node, 'postgres', 'SELECT NOT EXISTS (SELECT FROM skene.usage_events)');
is_exact('folded after a crash');

done_testing();
