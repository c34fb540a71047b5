# Upgrades: a package that is replaced under a running server, the restart, ALTER
# EXTENSION UPDATE, and the way back. A library and SQL objects that do not fit touch
# nothing and say what is missing; and the catalogs are the same however a version was
# reached. Version 1.1 is made up for this test (test/upgrade).
use strict;
use warnings;

use File::Basename;
use File::Copy;
use SkeneCopy;
use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $next = "$ENV{SKENE_SOURCE}/next";

# An installation of our own, so that we may change what is in it -----------------------

my ($bindir) = run_command([ 'pg_config', '--bindir' ]);
my $root = PostgreSQL::Test::Utils::tempdir;
system_or_bail('cp', '-a', "$ENV{SKENE_INSTALL}/.", $root);
my $prefix = $root . substr(dirname($bindir), length $ENV{SKENE_INSTALL});
my ($libraries) = run_command([ "$prefix/bin/pg_config", '--pkglibdir' ]);
my ($shared) = run_command([ "$prefix/bin/pg_config", '--sharedir' ]);

# Put another package's files in place, each at once and whole, as dpkg does: a process on
# its way out may be reading the old one.
sub use_package
{
	my ($package) = @_;
	for my $file (glob "$package/skene_gate*")
	{
		my $target = $file =~ /\.so$/ ? $libraries : "$shared/extension";
		$target .= '/' . basename($file);
		copy($file, "$target.new") or die "copy $file: $!";
		rename "$target.new", $target or die "rename $target: $!";
	}
	return;
}

my $first = PostgreSQL::Test::Utils::tempdir;
copy($_, $first) or die "copy $_: $!"
  for "$libraries/skene_gate.so", "$shared/extension/skene_gate.control";

my $node = new_server('upgrade', install_path => $prefix);
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(app other restored direct stepped at_once);
$node->safe_psql('app', q{ALTER DATABASE app SET skene_gate.delivery = 'off'});
install($node, 'app');
fill_tables($node, 'app');
settle($node, 'app');
$node->safe_psql('app', q{CREATE ROLE webapp; SELECT skene_grant_role('webapp', 'app')});
my $rows = rows_of($node, 'app');

# Test that the database has no worker and its functions refuse to work, naming a remedy.
my @calls = (
	q{skene_consume('u1', 'export')}, q{skene_decide('u1', 'export')},
	q{skene_require('u1', 'export')}, q{skene_refund('u1', 'export')},
	q{skene_check('u1', 'export')},   q{skene_allows('u1', 'export')},
	q{skene_usage('u1')},             q{skene_consume_request('u1', 'GET', '/')},
	q{skene_set_usage('u1', 'export', 1)}, q{skene_apply('{}')},             q{skene_stripe_webhook('{}'::text, 't=1,v1=00')});

sub idles
{
	my ($problem, $remedy, $logged) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_until($node, 'app', q{SELECT worker = 'incompatible' FROM skene_status()});
	is( $node->safe_psql('app', 'SELECT pid, pending, last_error FROM skene_status()'),
		"|1|$problem", 'the worker is gone, the status says why');
	like(error_of($node, 'app', "SELECT * FROM $_"),
		qr/ERROR:  55000: \Q$problem\E\nHINT:  \Q$remedy\E$/m, "refused: $_")
	  for @calls;
	my $log = slurp_file($node->logfile, $logged);
	is(scalar(() = $log =~ /WARNING:  \Q$problem\E/g), 1, 'the log says so once');
	return unlike($log, qr/FATAL|PANIC|terminated by signal/, 'and nothing crashed');
}

# New files, old process ------------------------------------------------------------------

use_package($next);
my $too_new = 'SQL objects of skene_gate are of version 1.1, its library works with 1.0';
my $restart = 'Restart the server with the library of version 1.1.';
like(error_of($node, @$_),
	qr/ERROR:  55000: \Q$too_new\E\nHINT:  \Q$restart\E$/m, "before the restart: $_->[1] fails")
  for [ 'app', 'ALTER EXTENSION skene_gate UPDATE' ], [ 'other', 'CREATE EXTENSION skene_gate' ];
is( $node->safe_psql('app', q{SELECT worker FROM skene_status(); SELECT skene_allows('new', 'export')}),
	"running\nt", 'and all goes on');

# New library, old SQL objects --------------------------------------------------------------

$node->stop;
my $logged = -s $node->logfile;
$node->start;
idles('SQL objects of skene_gate are of version 1.0, its library works with 1.1',
	'Run ALTER EXTENSION skene_gate UPDATE.', $logged);
my $session = $node->background_psql('app', on_error_stop => 0);
$session->query(q{SELECT skene_allows('new', 'export')});
like($session->{stderr}, qr/version 1\.0/, 'a session is refused');
$session->{stderr} = '';
is(rows_of($node, 'app'), $rows, 'and every row is where it was');

# The update --------------------------------------------------------------------------------

$node->safe_psql('app', 'ALTER EXTENSION skene_gate UPDATE');
wait_until($node, 'app', q{SELECT worker = 'running' FROM skene_status()});
my $updated = rows_of($node, 'app', 'country');
ok($updated =~ s/^remarks\|0\|$//m, 'the update brings a table');
$updated =~ s/^\n//m;
is($updated, $rows, 'and keeps every row');
is($session->query_safe(q{SELECT skene_allows('new', 'export')}), 't', 'the session that was refused goes on');
is($node->safe_psql('app', q{SET ROLE webapp; SELECT skene_consume('new', 'export')}),
	't', 'roles keep their rights');
like(error_of($node, 'app', q{SET ROLE webapp; SELECT skene_remark('new', 'hello')}),
	qr/42501/, 'and get no new ones');
$node->safe_psql('app', 'ALTER DATABASE app RESET skene_gate.delivery');
comes_to_be($node, 'app', 'waiting', 'captured', 'what was waiting is delivered');
$node->safe_psql('app', q{SELECT skene_remark('ada', 'called'), skene_remark('ada', 'again')});

# However it was reached ------------------------------------------------------------------------

my $privileges = 'ALTER DEFAULT PRIVILEGES GRANT ALL ON';
my $create = 'CREATE EXTENSION skene_gate';
my $update = 'ALTER EXTENSION skene_gate UPDATE';
my %ways = (
	direct => [$create],
	stepped => [ "$create VERSION '1.0'", $update ],
	at_once => ["BEGIN; SAVEPOINT a; $create VERSION '1.0'; RELEASE a; SAVEPOINT b; $update; COMMIT"]);
my %catalog;
$node->safe_psql('postgres', 'CREATE ROLE greedy');
for my $database (sort keys %ways)
{
	$node->safe_psql($database, "$privileges $_ TO greedy, PUBLIC") for qw(TABLES SEQUENCES FUNCTIONS SCHEMAS);
	$node->safe_psql($database, $_) for @{ $ways{$database} };
	$catalog{$database} =
	  [ split /\n/, $node->safe_psql($database, slurp_file("$ENV{SKENE_SOURCE}/test/upgrade/catalog.sql")) ];
}
cmp_ok(scalar @{ $catalog{direct} }, '>', 1000, 'version 1.1, installed directly, has its objects');
is_deeply([ grep { /HAS NO DEFINITION HERE|greedy=/ } @{ $catalog{direct} } ], [], 'all known, and nobody else\'s');
for my $database (qw(stepped at_once))
{
	my (%direct, %way);
	@direct{ @{ $catalog{direct} } } = ();
	@way{ @{ $catalog{$database} } } = ();
	is_deeply(
		[
			(map { "lacks $_" } grep { !exists $way{$_} } @{ $catalog{direct} }),
			map { "has $_" } grep { !exists $direct{$_} } @{ $catalog{$database} }
		],
		[], "$database: the catalogs are the same, object by object");
}

# A session knows that the versions fit, and a worker stays, until they do not. Steps that
# change nothing else show that the command itself says so.
append_to_file("$shared/extension/skene_gate--$_.sql", "-- nothing\n") for qw(1.1--9.9 9.9--1.1);
$session->quit;
$session = $node->background_psql('direct', on_error_stop => 0);
$session->query_safe(q{
	SELECT count(*) FROM skene_apply('{"features": {"export": {"limit": {"free": 9}, "period": "30d"}}}');
	SELECT skene_consume('u1', 'export')});
wait_until($node, 'direct', q{SELECT worker = 'running' FROM skene_status()});
$node->safe_psql('direct', "$update TO '9.9'");
$session->query(q{SELECT skene_consume('u1', 'export')});
like($session->{stderr}, qr/version 9\.9/, 'a session notices that the version is another');
ok($node->poll_query_until('direct', q{SELECT worker = 'incompatible' FROM skene_status()}),
	'so does the worker');
$node->safe_psql('direct', "$update TO '1.1'");
$session->{stderr} = '';
is($session->query_safe(q{SELECT skene_consume('u1', 'export')}), 't', 'and that it fits again');
ok($node->poll_query_until('direct', q{SELECT worker = 'running' FROM skene_status()}),
	'so does the worker');
$session->quit;
$node->safe_psql('direct', "DROP EXTENSION skene_gate; $create VERSION '1.0'");

# Old library, new SQL objects: the way back -------------------------------------------------------

$node->safe_psql('app', q{ALTER DATABASE app SET skene_gate.delivery = 'off'});
enqueue($node, 'app', 'late');
settle($node, 'app');
$rows = rows_of($node, 'app');
# the log is to speak of one database only
$node->safe_psql($_, 'DROP EXTENSION skene_gate') for qw(stepped at_once);
use_package($first);
$node->stop;
$logged = -s $node->logfile;
$node->start;
idles($too_new, $restart, $logged);
my $dump = $node->basedir . '/app.dump';
$node->command_ok([ 'pg_dump', '--format=custom', "--file=$dump", $node->connstr('app') ], 'it can be dumped');
is(error_of($node, 'app', 'BEGIN; DROP EXTENSION skene_gate; ROLLBACK'), '', 'and dropped');
worker_runs($node, 'direct', 'a database whose SQL objects fit has its worker');

use_package($next);
$node->restart;
wait_until($node, 'app', q{SELECT worker = 'running' FROM skene_status()});
is(rows_of($node, 'app'), $rows, 'forward again: every row is where it was');
$node->safe_psql('app', 'ALTER DATABASE app RESET skene_gate.delivery');
comes_to_be($node, 'app', 'late', 'captured', 'and work goes on');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ],
	'the dump can be restored');
is(rows_of($node, 'restored'), $rows, 'with every row, the new table\'s too');

done_testing();
