# SkeneGate.pm: what the TAP tests share: servers with the extension preloaded, its
# installation with a small configuration, and a stand-in for Resend.
package SkeneGate;

use strict;
use warnings;

use Exporter 'import';
use File::Temp;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(new_server install error_of worker_pid worker_runs workers_are poll wait_until becomes states_are write_secret
  start_resend use_resend stop_resend resend_fault resend_control resend_counts resend_requests requests_of
  start_stand_in $api_key);

# One unit of "export" is free; the next one asks for an upgrade.
my $config = <<'JSON';
{ "plans": { "free": { "default": true }, "pro": { "rank": 1, "prices": ["price_pro"] } },
  "features": { "export": { "limit": { "free": 1, "pro": null }, "period": "30d",
                            "prompt": { "provider": "resend", "template": "upgrade_prompt" } } },
  "settings": { "emailFrom": "Acme <hello@acme.test>", "upgradeUrl": "https://acme.test/upgrade" } }
JSON

our $api_key = 're_secret_0123456789abcdef';

my $state = File::Temp->newdir;
my $resend_url;
my $http = HTTP::Tiny->new(no_proxy => ['127.0.0.1'], timeout => 10);

# A cluster with the library preloaded, not started. Parameters are those of init, and
# install_path for a server other than the one on the PATH. SKENE_PRELOAD names a library
# to preload beside ours.
sub new_server
{
	my ($name, %params) = @_;
	my $libraries = join ', ', 'skene_gate', $ENV{SKENE_PRELOAD} // ();
	my $path = delete $params{install_path};
	my $node = PostgreSQL::Test::Cluster->new($name, $path ? (install_path => $path) : ());
	$node->init(extra => [ '-E', 'UTF8', '--no-locale' ], %params);
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = '$libraries'
max_connections = 40
max_worker_processes = 20
log_statement = none
CONF
	return $node;
}

# Install into a database, configure it, and wait for the worker.
sub install
{
	my ($node, $database) = @_;
	$database //= 'postgres';
	$node->safe_psql($database, 'CREATE EXTENSION skene_gate');
	$node->safe_psql($database, "SELECT count(*) FROM skene_apply(\$config\$$config\$config\$)");
	wait_until($node, $database, "SELECT worker = 'running' FROM skene_status()");
	return;
}

# poll_query_until for a server that may be restarting: psql can then end before it has
# read the query, which IPC::Run takes for an error of ours.
sub poll
{
	my ($node, $database, $query, $expected) = @_;
	for (;;)
	{
		my $result = eval { $node->poll_query_until($database, $query, $expected) };
		return $result unless $@;
		die $@ unless $@ =~ /Broken pipe/;
	}
}

# Wait for a query to return t; a test that cannot go on without it ends here.
sub wait_until
{
	my ($node, $database, $query) = @_;
	poll($node, $database, $query)
	  or BAIL_OUT($node->name . ": waited in vain for: $query");
	return;
}

# Test that a query of database postgres comes to return what is expected.
sub becomes
{
	my ($node, $query, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(poll($node, 'postgres', $query, $expected), $test)
	  || diag(map { $node->safe_psql('postgres', $_) } $query, 'SELECT * FROM skene_status()');
}

# Test that the messages to NAME_1, NAME_2 ... come to be in these states, as "dead 1, sent 2".
sub states_are
{
	my ($node, $name, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return becomes($node, qq{SELECT string_agg(state || ' ' || n, ', ' ORDER BY state)
		FROM (SELECT state, count(*) AS n FROM skene.outbox WHERE user_id LIKE '${name}\\_%'
		       GROUP BY state) s}, $expected, $test);
}

# A statement's error with its SQLSTATE, DETAIL and HINT; empty when it succeeds.
sub error_of
{
	my ($node, $database, $sql) = @_;
	my (undef, undef, $stderr) =
	  $node->psql($database, $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $stderr;
}

# The pid of a database's worker, empty without one.
sub worker_pid
{
	my ($node, $database) = @_;
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'skene_gate worker'
		    AND datname = '$database'");
}

# Test that a database comes to have a worker, other than the one with pid $not.
sub worker_runs
{
	my ($node, $database, $test, $not) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$not ||= 0;
	return ok( poll($node, 'postgres',
			"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'skene_gate worker'
			    AND datname = '$database' AND pid <> $not AND state = 'idle'"),
		$test);
}

# Test that the databases with workers come to be these, in alphabetical order.
sub workers_are
{
	my ($node, $databases, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok( poll($node, 'postgres',
			"SELECT coalesce(string_agg(datname, ' ' ORDER BY datname COLLATE \"C\"), '')
			   FROM pg_stat_activity WHERE backend_type = 'skene_gate worker'", $databases),
		$test);
}

# A file only the server can read; returns its path.
sub write_secret
{
	my ($name, $content) = @_;
	my $path = "$state/$name";
	unlink $path;
	PostgreSQL::Test::Utils::append_to_file($path, "$content\n");
	chmod 0600, $path or die "chmod $path: $!";
	return $path;
}

# The stand-in for Resend ------------------------------------------------------

# Start a program of test/sandbox with a state directory and options; returns its URL.
my @stand_ins;
sub start_stand_in
{
	my ($program, $directory, @options) = @_;
	my $output = '';
	my $process = IPC::Run::start(
		[ 'python3', "$ENV{SKENE_SOURCE}/test/sandbox/$program.py", '--state', $directory, @options ],
		'<', \undef, '>', \$output, '2>', "$state/$program.stderr",
		my $timeout = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	push @stand_ins, $process;
	$process->pump until $output =~ /listening (\S+)/;
	$timeout->reset;
	return $1;
}

sub start_resend
{
	my (@options) = @_;
	$resend_url = start_stand_in('resend', "$state", @options);
	return $resend_url;
}

# Point a server, not yet started, at the stand-in. Delivery stays off.
sub use_resend
{
	my ($node) = @_;
	my $key_file = write_secret('resend_key', $api_key);
	$node->append_conf('postgresql.conf', <<"CONF");
skene_gate.resend_base_url = '$resend_url'
skene_gate.resend_api_key_file = '$key_file'
skene_gate.resend_rate = 100
CONF
	return;
}

sub stop_resend
{
	$_->kill_kill(grace => 5) for @stand_ins;
	@stand_ins = ();
	return;
}

# Give the stand-in an order, as test/sandbox/README.md describes them.
sub resend_control
{
	my (%order) = @_;
	my $answer = $http->post("$resend_url/_control", { content => encode_json(\%order) });
	die "stand-in: $answer->{content}" unless $answer->{success};
	return;
}

# Replace its faults.
sub resend_fault
{
	my (@faults) = @_;
	resend_control(faults => \@faults);
	return;
}

# What the stand-in counted: requests, accepted, accepted_by_key, faults.
sub resend_counts
{
	my $answer = $http->get("$resend_url/_control");
	die "stand-in: $answer->{content}" unless $answer->{success};
	return decode_json($answer->{content});
}

# Every request it got, oldest first. With a count, waits for that many.
sub resend_requests
{
	my ($count) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my @requests;
	for (;;)
	{
		my $journal = "$state/resend.requests.jsonl";
		@requests = -e $journal ? map { decode_json($_) }
		  split /\n/, PostgreSQL::Test::Utils::slurp_file($journal) : ();
		last if !defined $count || @requests >= $count;
		BAIL_OUT("the stand-in waited in vain for request $count") if time > $deadline;
		usleep(50_000);
	}
	return @requests;
}

# Requests that carried messages to NAME_1, NAME_2 ...
sub requests_of
{
	my ($name) = @_;
	return grep { $_->{body} =~ /"${name}_/ } resend_requests();
}

END
{
	my $status = $?;
	stop_resend();
	$? = $status;
}

1;
