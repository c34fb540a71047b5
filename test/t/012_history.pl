# Histories of clients that are disturbed: each writes down what it asks for and what it
# is told. Whatever is cancelled, terminated or killed, and when: never above a limit,
# every admission told is counted once and no failure told is counted, denials are
# justified, and nothing stays in flight.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{SKENE_ROUNDS} || 10;
my $clients = 6;
my $limit = 100;
my $deadline = $PostgreSQL::Test::Utils::timeout_default;

my $node = new_server('history');
$node->append_conf('postgresql.conf', <<'CONF');
restart_after_crash = on
skene_gate.fold_interval = 20
skene_gate.max_reservations = 256
CONF
$node->start;
install($node);
$node->safe_psql('postgres', qq{
	SELECT count(*) FROM skene_apply('{"features": {"job": {"limit": {"free": $limit}, "period": "30d"}}}')});

my ($status, $stdout, $stderr) = $node->psql('postgres', q{\set VERBOSITY sqlstate
	SELECT count(*) FROM generate_series(1, 300) c WHERE skene_consume('o' || c, 'job')});
like($stderr, qr/ERROR:  53400/, 'more customers in one transaction than reservations are an error');
is( $node->safe_psql('postgres', q{
		SELECT (SELECT count(*) FROM skene.usage_totals WHERE user_id LIKE 'o%'), reservations
		  FROM skene.window_stats()}),
	'0|0', 'and nothing of it is counted or left in flight');

# A client's script: calls for random customers of this round, each with a key of its own.
# The time after each answer bounds what may have been committed when it was given.
sub script
{
	my ($round, $client, $first) = @_;
	my $script = "\\set VERBOSITY terse\nSET application_name = 'client';\n";
	for my $call ($first .. $first + 79)
	{
		my $key = "$client.$call";
		my $customer = "r$round.c" . (1 + int rand 3);
		my $amount = 1 + int rand 3;
		$script .= "SET statement_timeout = '" . int(rand 12) . "ms';\n" if $call % 10 == 0;
		my $pause = rand 0.004;
		$script .= "\\echo ask $key $customer $amount\n";
		# some beside a savepoint that is rolled back
		$script .= rand() < 0.7
		  ? "SELECT skene_consume('$customer', 'job', $amount, '$key') AS told, pg_sleep($pause) \\gset\n"
		  . "\\echo told :told :SQLSTATE 00000\n"
		  : "BEGIN;\nSAVEPOINT s;\nSELECT skene_consume('$customer', 'job', 1, '$key.s') AS ignored \\gset\n"
		  . "ROLLBACK TO s;\nSELECT skene_consume('$customer', 'job', $amount, '$key') AS told \\gset\n"
		  . "RELEASE s;\n\\set released :SQLSTATE\nCOMMIT;\n\\echo told :told :released :SQLSTATE\n";
		$script .= "\\unset told\n";
		$script .= "SELECT 'at', extract(epoch FROM clock_timestamp());\n";
	}
	return $script;
}

sub start_client
{
	my ($round, $client, $first, $log) = @_;
	my $file = $node->basedir . "/client.$client.sql";
	unlink $file;
	append_to_file($file, script($round, $client, $first));
	return IPC::Run::start(
		[ 'psql', '-XAtq', '-F', ' ', '-d', $node->connstr('postgres'), '-f', $file ],
		'<', \undef, '>', $log, '2>', \my $ignored, IPC::Run::timeout($deadline));
}

# Disturbances, given the number of the round.
my %disturb = (
	cancel => sub { storm('pg_cancel_backend') },
	terminate => sub { storm('pg_terminate_backend') },
	backend => sub { kill_hard(client_pid()) },
	worker => sub { kill_hard(worker_pid($node, 'postgres')) },
	postmaster => sub { $node->kill9 },
	immediate => sub { $node->stop('immediate') });
my @kinds = qw(cancel backend postmaster terminate worker immediate);

# On a slow machine a client may have ended by now.
my $killed = 0;

sub kill_hard
{
	my ($pid) = @_;
	return $killed += $pid ? kill('KILL', $pid) : 0;
}

sub client_pid
{
	return $node->safe_psql('postgres', q{
		SELECT pid FROM pg_stat_activity WHERE application_name = 'client' ORDER BY random() LIMIT 1});
}

# Hit clients at random, a few hundred times.
sub storm
{
	my ($function) = @_;
	return $node->safe_psql('postgres', qq{
		DO \$\$
		BEGIN
			FOR i IN 1 .. 200 LOOP
				PERFORM pg_stat_clear_snapshot();
				PERFORM $function(pid) FROM pg_stat_activity
				  WHERE application_name = 'client' AND state <> 'idle' AND random() < 0.3;
				PERFORM pg_sleep(0.003);
			END LOOP;
		END
		\$\$});
}

# After a postmaster was killed its shared memory is in use until its children noticed.
sub come_back
{
	if (!$node->{_pid})
	{
		my $tries = 0;
		until ($node->start(fail_ok => 1))
		{
			BAIL_OUT('the server does not come back') if $tries++ > 10 * $deadline;
			usleep(100_000);
			$node->stop('fast', fail_ok => 1);
		}
	}
	return wait_until($node, 'postgres', "SELECT worker = 'running' FROM skene_status()");
}

# Everything asked for in logs: key => [customer, amount, answer, instant after it]. What
# was told is true when the statement, or the savepoint and the COMMIT, were without error;
# a failure is certain for a single statement only.
sub history
{
	my (@logs) = @_;
	my %asked;
	for my $log (@logs)
	{
		my $call;
		for my $line (split /\n/, $log)
		{
			if ($line =~ /^ask (\S+) (\S+) (\d+)$/)
			{
				$call = $asked{$1} = [ $2, $3, 'unknown', 'infinity' ];
			}
			elsif ($line =~ /^told ([tf]) 00000 00000$/) { $call->[2] = $1 }
			elsif ($line =~ /^told :told (?!00000)\w{5} 00000$/) { $call->[2] = 'error' unless $line =~ /25P02|3B001/ }
			elsif ($line =~ /^at (\S+)$/) { $call->[3] = $1 }
		}
	}
	return \%asked;
}

my %answers;
my $broken = '';
for my $round (1 .. $rounds)
{
	my $kind = $kinds[ ($round - 1) % @kinds ];
	my @logs = ('') x $clients;
	my @running = map { start_client($round, $_, 1, \$logs[$_]) } 0 .. $clients - 1;
	wait_until($node, 'postgres', qq{
		SELECT coalesce(sum(amount), 0) > 25 FROM skene.idempotency_keys WHERE user_id LIKE 'r$round.%'});
	$disturb{$kind}->();
	$_->finish for @running;
	come_back();
	# those who lost their connection come again, with new keys
	@running = map { start_client($round, $_, 1000, \$logs[$_]) } 0 .. 1;
	$_->finish for @running;

	my $asked = history(@logs);
	my %counted = map { my ($key, @row) = split /\|/; ($key => \@row) } split /\n/,
	  $node->safe_psql('postgres', qq{
		SELECT idempotency_key, user_id, amount, extract(epoch FROM created_at)
		  FROM skene.idempotency_keys WHERE user_id LIKE 'r$round.%'});
	my %used = map { split /\|/ } split /\n/, $node->safe_psql('postgres', qq{
		SELECT user_id, used FROM skene.usage_totals WHERE user_id LIKE 'r$round.%'});
	my %sum;
	$sum{ $_->[0] } += $_->[1] for values %counted;
	for my $customer (keys %used, keys %sum)
	{
		my ($units, $admitted) = ($used{$customer} // 0, $sum{$customer} // 0);
		$broken .= "$kind: $customer used $units, admitted $admitted\n" if $units != $admitted || $units > $limit;
	}
	for my $key (sort keys %$asked)
	{
		my ($customer, $amount, $answer, $instant) = @{ $asked->{$key} };
		my $is_counted = exists $counted{$key};
		$answers{$answer}++;
		$broken .= "$kind: $key was told $answer, counted: " . ($is_counted ? 1 : 0) . "\n"
		  if $answer eq 't' && !$is_counted || $answer =~ /^(f|error)$/ && $is_counted;
		next if $answer ne 'f';
		my $possible = 0;
		$possible += $_->[1] for grep { $_->[0] eq $customer && $_->[2] <= $instant } values %counted;
		$broken .= "$kind: $key was denied $amount of $customer when at most $possible were used\n"
		  if $possible + $amount <= $limit;
	}
	$broken .= "$kind: " . $_ for $node->safe_psql('postgres', 'SELECT * FROM skene_audit()') || ();
	$broken .= "$kind: $_ reservations are left\n"
	  for $node->safe_psql('postgres', 'SELECT reservations FROM skene.window_stats()') || ();
	last if $broken;
}
is($broken, '', "$rounds rounds: every answer was true");
note join ', ', map { "$answers{$_} $_" } sort keys %answers;
cmp_ok($answers{$_} // 0, '>', 0, "some were told $_") for qw(t f error);
cmp_ok($killed, '>', 0, "$killed clients and workers were killed");

done_testing();
