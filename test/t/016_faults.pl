# What goes wrong around the worker: there is no room for it, its database lets nobody
# in, its extension is replaced, prompts cannot be written. Each is told, ends with its
# cause, and loses nothing that could be kept.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('faults');
$node->append_conf('postgresql.conf', <<'CONF');
max_logical_replication_workers = 0
max_worker_processes = 1
skene_gate.max_reservations = 256
CONF
$node->start;

sub sql { return $node->safe_psql('app', $_[0]) }

# Have a customer denied once.
sub deny
{
	my ($user) = @_;
	sql("SELECT skene_identify('$user', '$user\@example.com'); SELECT skene_consume('$user', 'export', 2)");
	return;
}

# Test that a customer's prompt comes, with this many denials.
sub prompted
{
	my ($user, $denials, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until('app', "SELECT state = 'queued' AND denials = $denials
			FROM skene.prompts WHERE user_id = '$user'"), $test);
}

# Test that skene_status() comes to tell of an error.
sub told
{
	my ($error, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until('app', 'SELECT last_error FROM skene_status()', $error), $test);
}

# Test that the worker of app comes to be in a state, as other databases see it.
sub worker_is
{
	my ($state, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until('postgres', qq{
			SELECT s.state = '$state' FROM skene.worker_slots() s JOIN pg_database d ON d.oid = s.database_oid
			 WHERE d.datname = 'app'}), $test);
}

# No room ------------------------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE app');
$node->safe_psql('postgres', 'CREATE EXTENSION skene_gate');
$node->wait_for_log(qr/skene_gate could not start a worker\n.*HINT: .*Increase max_worker_processes/);
is($node->safe_psql('postgres', 'SELECT worker FROM skene_status()'), 'wanted',
	'without a free background worker it is wanted, and the log says why');
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->restart;
worker_runs($node, 'postgres', 'with one it runs');

install($node, 'app');
sql("SELECT skene_identify('r' || i) FROM generate_series($_, $_ + 149) i") for 1, 151;
like(
	error_of($node, 'app', q{SELECT count(skene_consume('r' || i, 'export')) FROM generate_series(1, 300) i}),
	qr/53400: too many reservations.*DETAIL: .* 256.*HINT: .*skene_gate.max_reservations/s,
	'one transaction that counts for more customers than there is room for');
is(sql(q{SELECT count(*) FILTER (WHERE skene_consume('r' || i, 'export')) FROM generate_series(1, 200) i}),
	'200', 'has taken nothing');

# Another extension of the same name ---------------------------------------------------

deny('before');
prompted('before', 1, 'the worker has worked');
sql('BEGIN; DROP EXTENSION skene_gate; CREATE EXTENSION skene_gate; COMMIT');
sql(q{SELECT count(*) FROM skene_apply('{"features": {"export": {"limit": {"free": 1, "paid": null}, "period": "30d"}},
	"settings": {"emailFrom": "hello@acme.test"}}')});
deny('after');
prompted('after', 1, 'a prompt goes into the new tables');
sql(q{SELECT skene_consume('after', 'export')});
wait_until($node, 'app', q{SELECT used = 1 FROM skene.usage WHERE user_id = 'after'});
is(sql('SELECT count(*) FROM skene.usage_events'), '0', 'usage is folded there');

# Prompts that cannot be written -------------------------------------------------------

# the launcher comes back after a second; what follows does not need it
my $launcher = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'skene_gate launcher'};
my $launcher_pid = sql($launcher);
sql("SELECT pg_terminate_backend($launcher_pid)");

sql(q{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN RAISE 'not today' USING ERRCODE = TG_ARGV[0]; END $$;
	CREATE TRIGGER refuse BEFORE INSERT ON skene.prompts FOR EACH ROW
	WHEN (NEW.user_id = 'cursed') EXECUTE FUNCTION refuse('lock_not_available')});
deny('cursed');
told('not today', 'an error that may pass');
sql(q{SELECT skene_consume('cursed', 'export', 2)});
sql(q{DROP TRIGGER refuse ON skene.prompts});
prompted('cursed', 2, 'loses no denial');

sql(q{DELETE FROM skene.prompts WHERE user_id = 'cursed';
	CREATE TRIGGER refuse BEFORE INSERT ON skene.prompts FOR EACH ROW
	WHEN (NEW.user_id = 'cursed') EXECUTE FUNCTION refuse('check_violation')});
my $logged = -s $node->logfile;
$node->safe_psql('app', "BEGIN; SELECT skene_consume('cursed', 'export', 2) FROM generate_series(1, 3); ROLLBACK");
deny('blessed');
prompted('blessed', 1, 'one that does not holds up nobody else');
$node->wait_for_log(qr/WARNING: .*skene_gate could not write a prompt: not today/, $logged);
ok($node->poll_query_until('app', 'SELECT notes_lost = 3 FROM skene.worker_status'),
	'and what is lost is counted');
sql(q{DROP TRIGGER refuse ON skene.prompts});

# Nobody may connect -------------------------------------------------------------------

wait_until($node, 'postgres', "SELECT count(*) = 1 FROM ($launcher) l WHERE pid <> $launcher_pid");
$node->safe_psql('postgres', 'ALTER DATABASE app ALLOW_CONNECTIONS false');
$node->safe_psql('postgres', "ALTER DATABASE app SET work_mem = '5MB'");    # restarts its worker
$node->wait_for_log(qr/FATAL: .*database "app" is not currently accepting connections/, $logged);
worker_is('failed', 'a worker that cannot connect has failed');
$node->safe_psql('postgres', 'ALTER DATABASE app ALLOW_CONNECTIONS true');
worker_runs($node, 'app', 'it is tried again, by a launcher that took over');
deny('late');
prompted('late', 1, 'and works');

done_testing();
