# A standby looks and does not count; once promoted, under load, it counts from what was
# committed and shipped.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_server('primary', allows_streaming => 1);
$primary->append_conf('postgresql.conf', 'skene_gate.fold_interval = 20');
$primary->start;
install($primary);
$primary->safe_psql('postgres', q{
	SELECT count(*) FROM skene_apply('{"features": {"job": {"limit": {"free": 500}, "period": "30d"}}}');
	CREATE TABLE jobs (customer text NOT NULL)});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

is($primary->safe_psql('postgres', q{SELECT skene_consume('u', 'export'), skene_consume('u', 'export')}),
	't|f', 'the primary counts');
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
is($standby->safe_psql('postgres', q{
		SELECT allowed, used, reason FROM skene_check('u', 'export');
		SELECT skene_allows('u', 'export'), skene_allows('v', 'export');
		SELECT count(*) FROM skene.windows}),
	"f|1|limit_reached\nf|t\n0", 'the standby looks, and keeps nothing');
my ($status, $stdout, $stderr) =
  $standby->psql('postgres', q{SELECT skene_consume('v', 'export')});
like($stderr, qr/usage cannot be counted on a standby.*HINT:.*primary/s, 'it says why it does not count');

my $script = $primary->basedir . '/jobs.sql';
append_to_file($script, <<'SQL');
\set customer random(1, 4)
BEGIN;
INSERT INTO jobs SELECT :customer WHERE skene_consume(:customer::text, 'job');
SELECT skene_allows(:customer::text, 'job');
COMMIT;
SQL
my $load;
{
	local %ENV = (%ENV, PGHOST => $primary->host, PGPORT => $primary->port);
	$load = IPC::Run::start(
		[ qw(pgbench --no-vacuum --client=8 --time=600 --file), $script, 'postgres' ],
		'<', \undef, '>', \$stdout, '2>', \$stderr,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
}
# looking beside the replay, until it has come so far
wait_until($standby, 'postgres',
	q{SELECT (SELECT count(*) > 100 FROM jobs) AND skene_allows('1', 'job') IS NOT NULL});
$standby->promote;
$primary->stop('immediate');
$load->finish;

wait_until($standby, 'postgres', "SELECT worker = 'running' FROM skene_status()");
my $exact = q{
	SELECT count(*) FROM (SELECT customer, count(*) AS units FROM jobs GROUP BY 1) AS j
	  FULL JOIN (SELECT * FROM skene.usage_totals WHERE feature = 'job') AS u ON u.user_id = j.customer
	 WHERE coalesce(units, 0) <> coalesce(used, 0) OR used > 500};
is($standby->safe_psql('postgres', $exact), 0, 'after promotion usage is what was shipped');
is($standby->safe_psql('postgres', q{
		INSERT INTO jobs SELECT i % 4 + 1 FROM generate_series(0, 2099) i WHERE skene_consume(i % 4 + 1, 'job');
		SELECT count(*) FROM jobs;}),
	2000, 'and the rest of each limit can be used, no more');
is($standby->safe_psql('postgres', $exact . '; SELECT * FROM skene_audit()'), 0, 'exactly');

done_testing();
