# Workers come and go as they should: through a storm of commands on databases, each of which
# needs its database for itself, and with delivery at the promotion of a standby, not before.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

start_resend();
my $node = new_server('primary', allows_streaming => 1);
use_resend($node);
$node->append_conf('postgresql.conf', "skene_gate.delivery = 'off'");
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(app other);
install($node, $_) for qw(app other);
workers_are($node, 'app other', 'a worker for each database with the extension');

# A storm --------------------------------------------------------------------------------

# Four sessions clone a database that has a worker, as test runners do, rename the clones and
# drop them; a fifth renames another one with a worker to and fro. Clones may or may not have come
# to have workers of their own by then.
my $logged = -s $node->logfile;
my $scripts = PostgreSQL::Test::Utils::tempdir();
my @sessions;
for my $session (1 .. 5)
{
	my $sql = '';
	for my $round (1 .. 5)
	{
		my $clone = "clone_${session}_$round";
		$sql .= $session < 5
		  ? "CREATE DATABASE $clone TEMPLATE app;\nALTER DATABASE $clone RENAME TO re$clone;\nDROP DATABASE re$clone;\n"
		  : "ALTER DATABASE other RENAME TO another;\nALTER DATABASE another RENAME TO other;\n";
	}
	append_to_file("$scripts/$session.sql", $sql);
	my ($out, $err) = ('', '');
	my $process = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', "$scripts/$session.sql" ],
		'<', \undef, '>', \$out, '2>', \$err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	push @sessions, [ $process, \$err ];
}
for my $session (@sessions)
{
	my ($process, $error) = @$session;
	$process->finish;
	is($$error, '', 'no command fails because somebody is in its database');
}
workers_are($node, 'app other', 'afterwards there are the workers there were');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname LIKE '%clone%'}),
	'0', 'and no clone');
ok( $node->poll_query_until('app',
		q{SELECT string_agg(datname, ' ' ORDER BY datname COLLATE "C") || ' ' || count(*) FROM skene.worker_slots() s
		    LEFT JOIN pg_database d ON d.oid = s.database_oid}, 'app other 2'),
	'and no slot is left to one that is gone');
# a worker may find its database gone, or be ended while it starts: that is FATAL
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile, $logged), qr/ERROR|PANIC|WARNING/,
	'without an error in the log');

# Promotion --------------------------------------------------------------------------------

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "skene_gate.delivery = 'on'");
$standby->start;
$node->safe_psql('app', q{
	SELECT skene_identify('ada', 'ada@example.com');
	SELECT skene_consume('ada', 'export'), skene_consume('ada', 'export')});
wait_until($node, 'app', q{SELECT count(*) = 1 FROM skene.outbox WHERE state = 'pending'});
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('app', 'SELECT state FROM skene.outbox'), 'pending', 'a standby sees what waits');
is(scalar(resend_requests()), 0, 'and sends nothing of it, though it may');
$node->stop('fast');
is($standby->safe_psql('app', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'skene_gate%'}),
	'0', 'nobody is there who could');
$standby->promote;
ok($standby->poll_query_until('app', 'SELECT state FROM skene.outbox', 'sent'), 'once promoted, it does');
is(scalar(resend_requests()), 1, 'once');

$standby->stop('fast');
done_testing();
