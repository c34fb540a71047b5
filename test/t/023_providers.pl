# Whatever a provider or the way to it does wrong, a message ends: sent once, or dead with the
# reason. All faults at once: each message meets its own, and none holds up another.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time);

start_resend('--no-files');
my $node = new_server('faults');
use_resend($node);
$node->append_conf('postgresql.conf', <<'CONF');
skene_gate.delivery = 'on'
skene_gate.resend_rate = 1000
skene_gate.resend_batch = 1
skene_gate.max_requests = 64
skene_gate.request_timeout = 3000
fsync = off
log_min_messages = debug5
CONF
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Enqueue messages, one for each name.
sub enqueue
{
	my ($database, @names) = @_;
	$node->safe_psql($database, qq{
		INSERT INTO skene.outbox (provider, path, body, idempotency_key, user_id)
		SELECT 'resend', '/emails', jsonb_build_object('from', 'a\@acme.test', 'to', name || '\@example.com',
		       'subject', 'Hello', 'text', 'x')::text, 'key_' || name, name
		  FROM unnest('{@{[ join ',', @names ]}}'::text[]) name});
	return;
}

my $true = JSON::PP::true;

# What is done to a message's first request, and what becomes of it: state, attempts, status
# of the last answer. A slow machine needs more attempts. Odd values of Retry-After are no
# reason to wait for ever.
my $again = 'sent [2-9] 200';
my %faults = (
	fine      => [ undef, 'sent 1 200' ],
	hang      => [ { kind => 'hang' }, $again ],
	taken     => [ { kind => 'hang', after_accept => $true }, $again ],
	late      => [ { kind => 'delay', seconds => 4 }, 'sent [1-9] 200' ],    # its key is in use meanwhile
	slow      => [ { kind => 'slow', seconds => 1 }, $again ],
	reset     => [ { kind => 'reset', after_accept => $true }, $again ],
	empty     => [ { kind => 'empty' }, $again ],
	truncated => [ { kind => 'truncated' }, $again ],
	chunk     => [ { kind => 'chunk' }, $again ],
	odd_1     => [ { kind => 'status', status => 503, retry_after => -7 }, $again ],
	odd_2     => [ { kind => 'status', status => 503, retry_after => 'soon' }, $again ],
	odd_3     => [ { kind => 'status', status => 503, retry_after => 'Wed, 21 Oct 2015 07:28:00 GMT' }, $again ],
	locked    => [ { kind => 'error', name => 'resource_locked' }, $again ],
	busy      => [ { kind => 'error', name => 'concurrent_idempotent_requests' }, $again ],
	internal  => [ { kind => 'error', name => 'internal_server_error' }, $again ],
	page      => [ { kind => 'status', status => 502, body => '<html>' }, $again ],
	field     => [ { kind => 'error', name => 'missing_required_field' }, 'dead 1 422' ],
	sender    => [ { kind => 'error', name => 'invalid_from_address' }, 'dead 1 422' ],
	parameter => [ { kind => 'error', name => 'invalid_parameter' }, 'dead 1 422' ],
	region    => [ { kind => 'error', name => 'invalid_region' }, 'dead 1 422' ],
	bad_key   => [ { kind => 'error', name => 'invalid_idempotency_key' }, 'dead 1 400' ],
	invalid   => [ { kind => 'error', name => 'validation_error' }, 'dead 1 400' ],
	nowhere   => [ { kind => 'error', name => 'not_found' }, 'dead 1 404' ],
	other     => [ { kind => 'error', name => 'invalid_idempotent_request' }, 'sent 1 409' ],
	endless   => [ { kind => 'endless' }, 'pending 1 200' ],    # not JSON: halts the provider, last
);

# A breaker that opens would hold up the others: failures and successes take turns.
my @failing = sort grep { $_ ne 'endless' && $_ ne 'fine' } keys %faults;
resend_fault(map { { %{ $faults{$_}[0] }, match => "\"$_\@" } } @failing);
sql('SELECT skene_pause()');
enqueue('postgres', map { ($_, "fine_$_") } @failing);
my $begun = time;
sql('SELECT skene_resume()');
for my $name (@failing)
{
	my $expected = $faults{$name}[1];
	my $state = q{SELECT concat_ws(' ', state, attempts, last_status) FROM skene.outbox WHERE user_id = '%s'};
	ok($node->poll_query_until('postgres', sprintf("SELECT (%s) ~ '^$expected\$'", sprintf $state, $name)),
		"$name: $expected") || diag(sql(sprintf $state, $name));
}
is( sql(q{SELECT count(*) FROM skene.outbox WHERE user_id LIKE 'fine%' AND state <> 'sent'}),
	'0', 'nobody else had to suffer');
my $by = resend_counts()->{accepted_by_recipient};
is_deeply([ grep { $by->{$_} != 1 } keys %$by ], [], 'each was accepted once');
is(scalar(keys %$by), sql(q{SELECT count(*) FROM skene.outbox WHERE state = 'sent' AND user_id <> 'other'}),
	'and all that count as sent');
my %keys;
$keys{ $_->{body} }{ $_->{idempotency_key} } = 1 for resend_requests();
is_deeply([ grep { keys %{ $keys{$_} } != 1 } keys %keys ], [], 'each under one key');
like( sql(q{SELECT last_error FROM skene.outbox WHERE user_id = 'field'}),
	qr/^HTTP 422 missing_required_field: /, 'a dead one says why');

# What cannot be a header, or a path, is not sent at all.
sql(q{INSERT INTO skene.outbox (provider, path, content_type, body, idempotency_key, user_id) VALUES
	('resend', '/emails', 'application/json', '{}', E'k\r\nX-Evil: 1', 'header'),
	('resend', '/emails', E'text/plain\nX-Evil: 1', '{}', 'type', 'header'),
	('resend', '/emails HTTP/1.1\r\nX-Evil: 1', 'application/json', '{}', 'path', 'header')});
becomes($node, q{SELECT string_agg(concat_ws(' ', state, attempts, last_status, last_error), ', ' ORDER BY outbox_id)
	    FROM skene.outbox WHERE user_id = 'header'},
	'dead 1 not sent: the idempotency key is not a valid header value, '
	  . 'dead 1 not sent: the content type is not a valid header value, dead 1 not sent: the URL is malformed',
	'no header can be smuggled in');

# Answers that are none of Resend's halt it ------------------------------------------------------

my $halted = q{SELECT o.state || ' ' || s.breaker || ' ' || (o.last_error ~ '%s')
	FROM skene.outbox o, skene.provider_status s WHERE o.user_id = '%s'};
for my $fault (
	[ 'endless',  'HTTP 200 is no answer', { kind => 'endless' } ],
	[ 'packed',   'HTTP 200 is no answer', { kind => 'gzip' } ],
	[ 'moved',    'HTTP 302 is no answer', { kind => 'redirect', times => -1 } ],
	[ 'refused',  'HTTP 403 invalid_api_key', { kind => 'error', name => 'invalid_api_key' } ],
	[ 'domain',   'HTTP 403 validation_error', { kind => 'error', name => 'domain_not_verified' } ],
	[ 'quota',    'HTTP 429 daily_quota_exceeded', { kind => 'error', name => 'daily_quota_exceeded' } ])
{
	my ($name, $error, $what) = @$fault;
	my $before = resend_requests();
	resend_fault($what);
	enqueue('postgres', $name);
	becomes($node, sprintf($halted, $error, $name), 'pending open true', "$name: halts");
	is(resend_requests() - $before, 1, "$name: after one request");
	resend_fault();
	sql("SELECT skene_retry(outbox_id) FROM skene.outbox WHERE user_id = '$name'");
	becomes($node, "SELECT state FROM skene.outbox WHERE user_id = '$name'", 'sent', "$name: and goes when mended");
}
is(sql(q{SELECT extract(hour FROM until - clock_timestamp()) >= 23 FROM skene.provider_status}), '',
	'a breaker that is closed has no end');

# A pause that is asked for, for the whole provider
resend_fault({ kind => 'error', name => 'rate_limit_exceeded', match => 'first', retry_after => 2 });
enqueue('postgres', 'first');
becomes($node, q{SELECT breaker FROM skene.provider_status}, 'resting', 'a rate limit rests the provider');
enqueue('postgres', 'second');
becomes($node, q{SELECT string_agg(state, ' ') FROM skene.outbox WHERE user_id IN ('first', 'second')},
	'sent sent', 'until it is over');
my ($first) = grep { $_->{body} =~ /"first@/ } resend_requests();
my ($second) = grep { $_->{body} =~ /"second@/ } resend_requests();
cmp_ok($second->{time} - $first->{time}, '>=', 1.9, 'for as long as Retry-After says, also for others');

# The provider is gone for a while, and fails for a while ------------------------------------------

my $logged = -s $node->logfile;
my $gone = q{SELECT string_agg(state, ' ') FROM skene.outbox WHERE user_id ~ '^gone'};
my $url = sql('SHOW skene_gate.resend_base_url');
my $nobody = PostgreSQL::Test::Cluster::get_free_port();
$node->adjust_conf('postgresql.conf', 'skene_gate.resend_base_url', "'http://127.0.0.1:$nobody'");
$node->restart; # a reload reaches the worker some time
enqueue('postgres', map { "gone_$_" } 1 .. 8);
becomes($node, 'SELECT breaker FROM skene.provider_status', 'open', 'a provider that refuses opens the breaker');
enqueue('postgres', 'gone_9');
$node->adjust_conf('postgresql.conf', 'skene_gate.resend_base_url', "'$url'");
$node->reload;
becomes($node, $gone, join(' ', ('sent') x 9), 'when it is back all is sent');
is(sql(q{SELECT bool_and(unknown_since IS NULL) FROM skene.outbox WHERE user_id ~ '^gone'}), 't',
	'nobody doubts that it was not sent before');
resend_fault({ kind => 'status', status => 500, times => 7 });
enqueue('postgres', map { "storm_$_" } 1 .. 6);
becomes($node, q{SELECT string_agg(state, ' ') FROM skene.outbox WHERE user_id ~ '^storm'},
	join(' ', ('sent') x 6), 'so is it after a storm of errors');
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile, $logged);
is(scalar(() = $log =~ /WARNING:  skene_gate cannot deliver/g), 2, 'the log tells of it, once each time');
is(scalar(() = $log =~ /LOG:  skene_gate delivers to resend again/g), 2, 'and of the end');
$by = resend_counts()->{accepted_by_recipient};
is_deeply([ grep { $by->{$_} != 1 } keys %$by ], [], 'each was accepted once');

# TLS ------------------------------------------------------------------------------------------------

my $certificates = PostgreSQL::Test::Utils::tempdir();
system_or_bail("$ENV{SKENE_SOURCE}/test/sandbox/certificates", $certificates);
my %tls = (
	good    => qr/^$/,
	expired => qr/^TLS: .*certificate has expired/,
	other   => qr/^TLS: .*no alternative certificate subject name matches/,
	self    => qr/^TLS: .*self[- ]signed certificate/);
my %urls = map {
	$_ => start_stand_in('resend', "$certificates/state_$_", '--no-files', '--tls',
		"$certificates/$_.pem", "$certificates/$_.key")
} sort keys %tls;
for my $name (sort keys %tls)
{
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql('postgres', "ALTER DATABASE $name SET skene_gate.resend_base_url = '$urls{$name}'");
	$node->safe_psql('postgres', "ALTER DATABASE $name SET skene_gate.ca_file = '$certificates/ca.pem'");
	my $key_file = write_secret("key_$name", "${api_key}_$name");
	$node->safe_psql('postgres', "ALTER DATABASE $name SET skene_gate.resend_api_key_file = '$key_file'");
	install($node, $name);
	enqueue($name, $name);
}
for my $name (sort keys %tls)
{
	my $state = $name eq 'good' ? 'sent' : 'pending';
	ok($node->poll_query_until($name, "SELECT state = '$state' AND attempts > 0 AND lease_token IS NULL FROM skene.outbox"),
		"TLS, $name certificate: $state");
	like($node->safe_psql($name, 'SELECT last_error FROM skene.outbox'), $tls{$name}, 'for a reason');
	next if $name eq 'good';
	is(-s "$certificates/state_$name/resend.requests.jsonl", undef, 'nothing was told to it');
	is($node->safe_psql($name, 'SELECT unknown_since IS NULL FROM skene.outbox'), 't', 'so the outcome is known');
}
is($node->safe_psql('good', 'SELECT tls_ms > 0 FROM skene.outbox'), 't', 'TLS takes its time');

# at debug5 the log has much, but not the key
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/\Q$api_key\E/, 'the log does not have the key');

done_testing();
