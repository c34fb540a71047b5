# To a newer PostgreSQL, by pg_upgrade and by dump and restore: every row and every right
# arrives, the catalogs are those of a fresh installation, and nothing is sent until
# somebody says that the new server is the one to send.
use strict;
use warnings;

use SkeneCopy;
use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $newer = $ENV{SKENE_NEWER}
  or plan skip_all => 'SKENE_NEWER_PG_CONFIG names no newer PostgreSQL to move to';

my ($version) = run_command([ "$newer/bin/pg_config", '--version' ]);
# 18 has checksums unless told, and pg_upgrade wants both servers to agree
my @initdb = (extra =>
	  [ '-E', 'UTF8', '--no-locale', $version =~ / (\d+)/ && $1 >= 18 ? '--no-data-checksums' : () ]);

sub pg_upgrade
{
	my ($from, $to) = @_;
	chdir $to->basedir or die "chdir: $!";
	return run_log([
		"$newer/bin/pg_upgrade", '--no-sync',
		'--old-datadir', $from->data_dir, '--new-datadir', $to->data_dir,
		'--old-bindir', $from->config_data('--bindir'), '--new-bindir', "$newer/bin",
		'--old-port', $from->port, '--new-port', $to->port, '--socketdir', $to->host ]);
}

# Some minor releases write what others do not read: can these two, without us?
my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init(extra => [ '-E', 'UTF8', '--no-locale' ]);
$bare->start;
$bare->safe_psql('postgres', 'CREATE TABLE plain (a int)');
$bare->stop;
my $bare_new = PostgreSQL::Test::Cluster->new('bare_new', install_path => $newer);
$bare_new->init(@initdb);
my $can_upgrade = pg_upgrade($bare, $bare_new);
my $cannot = "pg_upgrade to $version fails here for any table, without skene_gate";
diag $cannot unless $can_upgrade; # test/harness/check-all looks for it

start_resend();
my $old = new_server('old');
use_resend($old);
$old->append_conf('postgresql.conf', "skene_gate.delivery = 'off'");
$old->start;
note $old->safe_psql('postgres', 'SELECT version()'), " to $version";

$old->safe_psql('postgres', "CREATE DATABASE $_") for qw(app plain);
install($old, 'app');
fill_tables($old, 'app');
settle($old, 'app');
$old->safe_psql('plain', 'CREATE EXTENSION skene_gate');
$old->safe_psql('app', q{
	CREATE ROLE webapp; SELECT skene_grant_role('webapp', 'app'), skene_pause()});
$old->safe_psql('postgres', q{ALTER DATABASE app SET skene_gate.delivery = 'on'});
my $rows = rows_of($old, 'app');
my $sequences = sequences_of($old, 'app');
my $dump = $old->basedir . '/app.dump';
$old->command_ok([ "$newer/bin/pg_dump", '--format=custom', "--file=$dump", $old->connstr('app') ],
	'the newer pg_dump');
$old->stop;

# pg_upgrade -----------------------------------------------------------------------------

my $new = new_server('new', install_path => $newer, @initdb);
use_resend($new);

SKIP:
{
	skip $cannot, 1 unless $can_upgrade;
	ok(pg_upgrade($old, $new), 'pg_upgrade');
	$new->start;
	is(rows_of($new, 'app'), $rows, 'every row of every table is there');
	is(sequences_of($new, 'app'), $sequences, 'sequences go on where they were');
	is($new->safe_psql('app', q{SET ROLE webapp; SELECT skene_consume('granted', 'export')}),
		't', 'roles have the rights they had');
	$new->safe_psql('app', 'DELETE FROM skene.pauses');
	worker_runs($new, 'app', 'a worker runs');
	is_fenced($new, 'app', 'and is fenced');
	$new->safe_psql('app', 'SELECT skene_resume()');
	comes_to_be($new, 'app', 'app_1', 'sent', 'until it is resumed');
	is(state_of($new, 'app', 'waiting'), 'pending', 'what the old server left is kept');
	$new->safe_psql('app', q{SELECT skene_retry(outbox_id) FROM skene.outbox WHERE user_id = 'waiting'});
	comes_to_be($new, 'app', 'waiting', 'sent', 'and sent when somebody says so');

	my $catalog = slurp_file("$ENV{SKENE_SOURCE}/test/upgrade/catalog.sql");
	$new->safe_psql('postgres', 'CREATE DATABASE fresh');
	$new->safe_psql('fresh', 'CREATE EXTENSION skene_gate');
	is_deeply(
		[ split /\n/, $new->safe_psql('plain', $catalog) ],
		[ split /\n/, $new->safe_psql('fresh', $catalog) ],
		'the catalogs are those of a fresh installation');
}

# Dump and restore -------------------------------------------------------------------------

$new->start unless $can_upgrade;
$new->safe_psql('postgres', 'CREATE ROLE webapp') unless $can_upgrade;
$new->safe_psql('postgres', q{CREATE DATABASE restored;
	ALTER DATABASE restored SET skene_gate.delivery = 'on'});
$new->command_ok([ "$newer/bin/pg_restore", '--exit-on-error', '-d', $new->connstr('restored'), $dump ],
	'pg_restore');
is(rows_of($new, 'restored'), $rows, 'every row of every table is there');
is(sequences_of($new, 'restored'), $sequences, 'sequences go on where they were');
is($new->safe_psql('restored', q{SET ROLE webapp; SELECT skene_allows('granted', 'export')}),
	't', 'roles have the rights they had');
$new->safe_psql('restored', 'DELETE FROM skene.pauses');
worker_runs($new, 'restored', 'a worker runs');
is_fenced($new, 'restored', 'and is fenced');

done_testing();
