# No room for another event: calls fail with the server's own error, count nothing, and
# go on as soon as there is room; so does the fold.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A limit on the size of files is as good as a full disk, for data files larger than
# segments of WAL: those must be small.
my $node = PostgreSQL::Test::Cluster->new('full');
plan skip_all => 'prlimit is not here' if system_log('prlimit', '--version') != 0;
$node->init(extra => [ '-E', 'UTF8', '--no-locale', '--wal-segsize=1' ]);
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'skene_gate'
max_worker_processes = 20
min_wal_size = 2MB
max_wal_size = 64MB
autovacuum = off
CONF
$node->start;
install($node);
$node->safe_psql('postgres', q{
	SELECT count(*) FROM skene_apply('{"features": {"job": {"limit": {"free": 1000000}, "period": "30d"}}}');
	CREATE TABLE jobs (customer text NOT NULL)});

# Set the limit for processes to come, and for the worker.
sub limit_files
{
	my ($bytes) = @_;
	my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	system_or_bail('prlimit', "--pid=$_", "--fsize=$bytes:unlimited")
	  for $postmaster, worker_pid($node, 'postgres');
	return;
}

# Calls of one session, a transaction each, until one fails: its error.
sub consume_until_full
{
	my (undef, undef, $stderr) = $node->psql('postgres', q{
		DO $$
		DECLARE
			customer text := repeat('x', 200);
		BEGIN
			FOR i IN 1 .. 100000 LOOP
				PERFORM skene_consume(customer || i % 10, 'job', 1, NULL);
				INSERT INTO jobs VALUES (customer || i % 10);
				COMMIT;
			END LOOP;
		END $$}, on_error_stop => 0);
	return $stderr;
}

sub is_exact
{
	my ($test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is( $node->safe_psql('postgres', q{
			SELECT j.*, u.used FROM (SELECT customer, count(*) AS units FROM jobs GROUP BY 1) AS j
			  FULL JOIN skene.usage_totals u ON u.user_id = j.customer
			 WHERE coalesce(j.units, 0) <> coalesce(u.used, 0)}),
		'', "$test: usage is what was committed");
	is($node->safe_psql('postgres', 'SELECT * FROM skene_audit()'), '', "$test: counters agree with rows");
	return is($node->safe_psql('postgres', 'SELECT reservations FROM skene.window_stats()'),
		0, "$test: nothing is in flight");
}

my $fence = $node->background_psql('postgres');
$fence->query_safe('BEGIN; LOCK TABLE skene.usage IN SHARE MODE'); # keeps the fold from freeing events
limit_files(3_000_000);
like(consume_until_full(), qr/could not extend file|could not write to file/, 'a call fails when its event has no room');
is_exact('full');
my $used = $node->safe_psql('postgres', 'SELECT count(*) FROM jobs');
cmp_ok($used, '>', 1000, 'many fitted before');
$fence->query_safe('COMMIT');
$fence->quit;
limit_files('unlimited');
wait_until($node, 'postgres', 'SELECT NOT EXISTS (SELECT FROM skene.usage_events)');
is_exact('with room again');
is($node->safe_psql('postgres', q{SELECT skene_consume('later', 'job')}), 't', 'and counting goes on');

done_testing();
