# Delivery while workers and servers are killed, leases run out early and the provider
# misbehaves: what was committed is accepted once, by nobody twice and never lost.
# SKENE_CHAOS: for how many seconds (20), SKENE_SEED: what happens.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time usleep);

my $seed = $ENV{SKENE_SEED} || time;
srand($seed);
note("SKENE_SEED=$seed");

start_resend('--no-files');
my $node = new_server('chaos');
use_resend($node);
$node->append_conf('postgresql.conf', <<'CONF');
skene_gate.delivery = 'on'
skene_gate.resend_rate = 200
skene_gate.request_timeout = 700
restart_after_crash = on
CONF
$node->start;
install($node);

my $true = JSON::PP::true;
my @faults = map { ($_, { %$_, after_accept => $true }) } (
	{ kind => 'reset' }, { kind => 'empty' }, { kind => 'hang' },
	{ kind => 'error', name => 'internal_server_error' },
	{ kind => 'error', name => 'service_unavailable' });
push @faults, { kind => 'truncated' }, { kind => 'chunk' }, { kind => 'delay', seconds => 1 },
  { kind => 'error', name => 'rate_limit_exceeded', retry_after => 1 },
  { kind => 'error', name => 'resource_locked' };

# Run a statement; returns its result, undef when it failed. The server may be restarting: psql
# can then end before it has read what it is to do, which is no status but a broken pipe.
sub try
{
	my ($sql) = @_;
	my ($status, $stdout) = eval { $node->psql('postgres', $sql, on_error_stop => 1) };
	return defined $status && $status == 0 ? $stdout : undef;
}

my ($next, $acknowledged) = (1, 0);
my %done = (enqueue => 0, kill => 0, crash => 0, expire => 0, fault => 0);
my $until = time + ($ENV{SKENE_CHAOS} || 20);
while (time < $until)
{
	my $die = rand;
	my $what = $die < .45 ? 'enqueue' : $die < .75 ? 'fault' : $die < .87 ? 'kill' : $die < .97 ? 'expire' : 'crash';
	$what = 'crash' if !$done{crash} && time > $until - 2;
	$done{$what}++;
	if ($what eq 'enqueue')
	{
		my ($first, $last) = ($next, $next + int rand 40);
		$next = $last + 1;
		$acknowledged += $last - $first + 1 if defined try(qq{
			INSERT INTO skene.outbox (provider, path, body, idempotency_key, user_id)
			SELECT 'resend', '/emails', jsonb_build_object('from', 'a\@acme.test', 'to', 'u' || i || '\@example.com',
			       'subject', 'Hello', 'text', 'x')::text, 'key_' || i, 'u' || i
			  FROM generate_series($first, $last) i});
	}
	elsif ($what eq 'fault')
	{
		resend_fault(map { $faults[ rand @faults ] } 1 .. 3);
	}
	elsif ($what eq 'kill')
	{
		my $pid = try(q{SELECT pid FROM skene_status()});
		kill 'KILL', $pid if $pid;
	}
	elsif ($what eq 'expire')
	{
		# as if the worker had been away for long: its answers come too late
		try(q{UPDATE skene.outbox SET lease_expires_at = clock_timestamp() WHERE state = 'leased'});
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	usleep(50_000 + rand 100_000);
}
note(join ', ', map { "$done{$_} x $_" } sort keys %done);

resend_fault();
ok( poll($node, 'postgres', q{
		WITH expired AS (
			UPDATE skene.outbox SET lease_expires_at = clock_timestamp()
			 WHERE state = 'leased' AND last_attempt_at < clock_timestamp() - interval '2 seconds'),
		due AS (
			UPDATE skene.outbox SET next_attempt_at = clock_timestamp()
			 WHERE state = 'pending' AND next_attempt_at > clock_timestamp() + interval '1 second')
		SELECT skene_resume('resend')::text || (SELECT count(*) FROM skene.outbox WHERE state <> 'sent')}, '0'),
	"seed $seed: everything is sent in the end")
  || diag($node->safe_psql('postgres', q{SELECT state, count(*), min(last_error) FROM skene.outbox GROUP BY 1}));
my $committed = $node->safe_psql('postgres', 'SELECT count(*) FROM skene.outbox');
cmp_ok($committed, '>=', $acknowledged, "no commit of $acknowledged messages is lost");
my $by = resend_counts()->{accepted_by_recipient};
is(scalar(keys %$by), $committed, 'each was accepted');
my @doubled = grep { $by->{$_} != 1 } sort keys %$by;
is_deeply(\@doubled, [], 'and none twice')
  || diag(map { join(' ', map { $_ // '-' } @$_{qw(time path idempotency_key status replayed fault)}) . "\n" }
	  grep { $_->{body} =~ /"$doubled[0]"/ } resend_requests());
is($node->safe_psql('postgres', 'SELECT count(*) FROM skene.batches'), '0', 'no batch is left');

# every request under a key had the same bytes
my %bodies;
$bodies{ $_->{idempotency_key} }{ $_->{body} } = 1 for resend_requests();
is_deeply([ grep { keys %{ $bodies{$_} } != 1 } keys %bodies ], [], 'a key stands for the same bytes always');

done_testing();
