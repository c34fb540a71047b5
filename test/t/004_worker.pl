# The life of workers: one for each database with the extension, never in the way of
# commands on databases, of DROP EXTENSION or of a shutdown, idle or while a request
# to the provider hangs.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $soon = 15;   # seconds within which everything below has to happen: half of what a request may hang

start_resend();
my $node = new_server('primary', allows_streaming => 1);
use_resend($node);
$node->append_conf('postgresql.conf', 'allow_in_place_tablespaces = on');
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(app other plain);

# Run a command and test that it succeeds soon.
sub soon
{
	my ($database, $sql, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my (undef, undef, $stderr) =
	  $node->psql($database, "SET statement_timeout = '${soon}s';\n$sql");
	return is($stderr, '', $test);
}

# Get a request of a database's worker to hang.
my $customers = 0;
sub hang
{
	my ($database) = @_;
	my $requests = resend_requests();
	my $customer = 'u' . ++$customers;
	resend_fault({ kind => 'hang', times => -1 });
	$node->safe_psql($database, "ALTER DATABASE $database SET skene_gate.delivery = 'on'");
	$node->safe_psql($database, qq{
		SELECT skene_identify('$customer', '$customer\@example.com');
		SELECT skene_consume('$customer', 'export'), skene_consume('$customer', 'export')});
	resend_requests($requests + 1);
	return;
}

# Test that the server stops soon.
sub stops_soon
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $begun = time;
	$node->stop('fast');
	return cmp_ok(time - $begun, '<', $soon, $test);
}

# Which databases have one -------------------------------------------------------

install($node, $_) for qw(app other);
workers_are($node, 'app other', 'a worker for each database with the extension');
stops_soon('fast stop with idle workers');
$node->start;
workers_are($node, 'app other', 'they come back with the server');

# a slot is for databases with the extension; others are looked into and give it back
my $slots = q{SELECT string_agg(datname, ' ' ORDER BY datname COLLATE "C")
                FROM skene.worker_slots() s JOIN pg_database d ON d.oid = s.database_oid};
ok($node->poll_query_until('app', $slots, 'app other'), 'a database without it takes no slot');
$node->safe_psql('plain', 'BEGIN; CREATE EXTENSION skene_gate; ROLLBACK');
my $installing = $node->background_psql('plain');
$installing->query_safe('BEGIN; CREATE EXTENSION skene_gate');
$node->reload;    # wakes the launcher
ok($node->poll_query_until('app', $slots, 'app other'), 'nor one where it is not there yet');
$installing->query_safe('COMMIT');
$installing->quit;
workers_are($node, 'app other plain', 'one that was without it gets a worker when it comes');
$node->safe_psql('plain', 'DROP EXTENSION skene_gate');
workers_are($node, 'app other', 'loses it when it goes');
ok($node->poll_query_until('app', $slots, 'app other'), 'and gives its slot back');

my $pid = worker_pid($node, 'app');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
worker_runs($node, 'app', 'a terminated worker comes back', $pid);

# Commands on databases ------------------------------------------------------------

$pid = worker_pid($node, 'app');
$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN; CREATE ROLE creator LOGIN CREATEDB');
for my $attempt (
	[ 'stranger', 'DROP DATABASE app' ],
	[ 'stranger', 'ALTER DATABASE app RENAME TO mine' ],
	[ 'stranger', 'ALTER DATABASE app SET TABLESPACE pg_default' ],
	[ 'creator',  'CREATE DATABASE mine TEMPLATE app' ])
{
	my ($role, $sql) = @$attempt;
	my (undef, undef, $stderr) = $node->psql('postgres', "SET ROLE $role;\n$sql");
	like($stderr, qr/must be owner|permission denied/, "no right: $sql");
	is(worker_pid($node, 'app'), $pid, 'so the worker stays');
}

# what idles runs no query: meanwhile the DROP waits for the session, all of 5 seconds
my $looked = q{SELECT pid, xact_start, query_start, state_change FROM pg_stat_activity
                WHERE backend_type = 'skene_gate worker' AND datname = 'other'};
wait_until($node, 'postgres', "SELECT clock_timestamp() > state_change + interval '2 s'
	FROM ($looked) w");
my $before = $node->safe_psql('postgres', $looked);
my $session = $node->background_psql('app');
my (undef, undef, $stderr) = $node->psql('postgres', 'DROP DATABASE app');
like($stderr, qr/is being accessed by other users/, 'DROP DATABASE with a session connected fails');
$session->quit;
worker_runs($node, 'app', 'and the worker returns', $pid);
is($node->safe_psql('postgres', $looked), $before, 'an idle worker runs no query');

soon('postgres', 'ALTER DATABASE app RENAME TO renamed', 'RENAME');
workers_are($node, 'other renamed', 'the worker returns under the new name');
soon('postgres', 'ALTER DATABASE renamed RENAME TO app', 'RENAME back');
worker_runs($node, 'app', 'and again');
soon('postgres', "CREATE TABLESPACE elsewhere LOCATION '';\nALTER DATABASE app SET TABLESPACE elsewhere",
	'SET TABLESPACE');
worker_runs($node, 'app', 'the worker returns');
soon('postgres', 'CREATE DATABASE copy TEMPLATE app', 'CREATE DATABASE with it as template');
workers_are($node, 'app copy other', 'and the copy has a worker too');
soon('postgres', 'DROP DATABASE copy', 'DROP DATABASE');
workers_are($node, 'app other', 'ends its worker only');

$pid = worker_pid($node, 'app');
soon('postgres', "ALTER DATABASE app CONNECTION LIMIT 50 IS_TEMPLATE true;\nALTER ROLE stranger RENAME TO foreigner",
	'commands that do not need the database for themselves');
is(worker_pid($node, 'app'), $pid, 'leave the worker alone');
soon('postgres', "SET ROLE creator;\nCREATE DATABASE mine TEMPLATE app", 'whoever may create databases may copy a template');
workers_are($node, 'app mine other', 'and both have a worker');
soon('postgres', "DROP DATABASE mine;\nALTER DATABASE app IS_TEMPLATE false", 'DROP DATABASE');

hang('app');
soon('postgres', 'DROP DATABASE plain', 'DROP of another database, while a request hangs');
soon('postgres', 'CREATE DATABASE copy TEMPLATE app', 'as template, while a request hangs');
hang('app');
soon('postgres', 'ALTER DATABASE app RENAME TO renamed', 'RENAME, while a request hangs');
soon('postgres', 'ALTER DATABASE renamed RENAME TO app', 'RENAME back');
worker_runs($node, 'app', 'the worker returns');
hang('app');
soon('postgres', 'DROP DATABASE app', 'DROP DATABASE, while a request hangs');
workers_are($node, 'copy other', 'its worker is gone');

# DROP EXTENSION -------------------------------------------------------------------

my $logged = -s $node->logfile;
soon('other', 'DROP EXTENSION skene_gate', 'DROP EXTENSION');
workers_are($node, 'copy', 'ends the worker');
install($node, 'other');
workers_are($node, 'copy other', 'CREATE EXTENSION brings it back');
hang('other');
soon('other', 'DROP EXTENSION skene_gate', 'DROP EXTENSION, while a request hangs');
workers_are($node, 'copy', 'ends the worker');
install($node, 'other');
workers_are($node, 'copy other', 'CREATE EXTENSION brings it back');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile, $logged),
	qr/ERROR|FATAL|WARNING/, 'all that without an error in the log');

# Standby --------------------------------------------------------------------------

$node->safe_psql('other', q{SELECT skene_consume('u1', 'export')});
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);

is( $standby->safe_psql('other', q{SELECT allowed, reason, used FROM skene_check('u1', 'export')}),
	'f|limit_reached|1', 'skene_check answers on a standby');
is( $standby->safe_psql('other', q{SELECT skene_allows('u1', 'export'), skene_allows('u2', 'export')}),
	'f|t', 'so does skene_allows');
is( $standby->safe_psql('other', q{SELECT used, remaining FROM skene_usage('u1')}),
	'1|0', 'and skene_usage');
is($standby->safe_psql('other', 'SELECT worker FROM skene_status()'), 'absent', 'and skene_status');
for my $call (qw(skene_consume skene_decide skene_require skene_refund))
{
	(undef, undef, $stderr) = $standby->psql('other', "SELECT * FROM $call('u2', 'export')",
		extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($stderr, qr/25006: usage cannot be counted on a standby.*HINT: .*primary/s,
		"$call says where to go");
}
is( $standby->safe_psql('postgres',
		q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'skene_gate%'}),
	'0', 'no worker runs on a standby');
$standby->promote;
workers_are($standby, 'copy other', 'they start with its promotion');
$standby->stop('fast');

# Shutdown ---------------------------------------------------------------------------

hang('other');
stops_soon('fast stop while a request hangs');

done_testing();
