# What an operator sees of delivery and can do about it: breaker, rates and limits of several
# databases and providers, what is given up and why, what is removed.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use HTTP::Tiny;
use JSON::PP ();
use Test::More;

start_resend('--no-files');
my $state = PostgreSQL::Test::Utils::tempdir();
my $stripe_url = start_stand_in('stripe', $state);
my $node = new_server('operation');
use_resend($node);
my $stripe_key = write_secret('stripe_key', 'sk_test_0123456789');
$node->append_conf('postgresql.conf', <<"CONF");
skene_gate.delivery = 'on'
skene_gate.resend_rate = 1000
skene_gate.resend_batch = 1
skene_gate.stripe_base_url = '$stripe_url'
skene_gate.stripe_api_key_file = '$stripe_key'
skene_gate.stripe_rate = 1000
skene_gate.max_requests = 4
fsync = off
CONF
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Enqueue e-mails NAME_1 to NAME_COUNT.
sub enqueue
{
	my ($name, $count, $database) = @_;
	$node->safe_psql($database // 'postgres', qq{
		INSERT INTO skene.outbox (provider, path, body, idempotency_key, user_id)
		SELECT 'resend', '/emails', jsonb_build_object('from', 'a\@acme.test',
		       'to', '${name}_' || i || '\@example.com', 'subject', 'Hello', 'text', 'x')::text,
		       'key_${name}_' || i, '${name}_' || i
		  FROM generate_series(1, $count) i});
	return;
}

# Enqueue customers for Stripe.
sub enqueue_stripe
{
	my ($name, $count) = @_;
	sql(qq{INSERT INTO skene.outbox (provider, path, content_type, body, idempotency_key, user_id)
	       SELECT 'stripe', '/v1/customers', 'application/x-www-form-urlencoded',
	              'name=${name}_' || i, 'key_${name}_' || i, '${name}_' || i
	         FROM generate_series(1, $count) i});
	return;
}

my $breaker = q{SELECT breaker FROM skene.provider_status WHERE provider = 'resend'};

# One provider, then the other ---------------------------------------------------------------

becomes($node, 'SELECT breakers, in_flight, sent_last_minute FROM skene_status()',
	'{"resend: closed","stripe: closed"}|0|0', 'providers are shown as soon as there is a key');
sql(q{SELECT skene_pause('stripe')});
enqueue_stripe('card', 3);
enqueue('mail', 3);
states_are($node, 'mail', 'sent 3', 'e-mail is sent');
states_are($node, 'card', 'pending 3', 'while Stripe is paused');
sql(q{SELECT skene_resume('stripe')});
states_are($node, 'card', 'sent 3', 'until it is resumed');
like(sql(q{SELECT string_agg(provider_id, ' ') FROM skene.outbox WHERE user_id LIKE 'card%'}),
	qr/^cus_\w+ cus_\w+ cus_\w+$/, 'ids are kept');
my @journal = map { JSON::PP::decode_json($_) }
  split /\n/, PostgreSQL::Test::Utils::slurp_file("$state/stripe.requests.jsonl");
like($journal[0]{headers}{'stripe-version'}, qr/^20\d\d-\d\d-\d\d\.\w+$/, 'with the version of the API');
is($journal[0]{headers}{'content-type'}, 'application/x-www-form-urlencoded', 'as a form');
# the worker counts after its commit
becomes($node, 'SELECT breakers, sent_last_minute FROM skene_status()',
	'{"resend: closed","stripe: closed"}|6', 'the status shows both');

# Stripe hangs, with all the requests it may have.
my $http = HTTP::Tiny->new(no_proxy => ['127.0.0.1']);
$http->post("$stripe_url/_control", { content => '{"faults": [{"kind": "hang", "times": -1}]}' });
enqueue_stripe('stuck', 9);
becomes($node, q{SELECT in_flight FROM skene.provider_status WHERE provider = 'stripe'}, '4',
	'requests under way are bounded');
enqueue('free', 20);
states_are($node, 'free', 'sent 20', 'e-mail is sent all the same');
states_are($node, 'stuck', 'leased 4, pending 5', 'while Stripe hangs');
becomes($node, q{SELECT wait_event_type || ' ' || state || ' ' || query
	    FROM pg_stat_activity WHERE backend_type = 'skene_gate worker'},
	'Extension active skene_gate: requests to providers', 'pg_stat_activity says what the worker does');
$http->post("$stripe_url/_control", { content => '{"faults": []}' });
sql(q{SELECT skene_pause('stripe')});

# The breaker ------------------------------------------------------------------------------------

resend_fault({ kind => 'error', name => 'service_unavailable', times => -1 });
enqueue('down', 8);
becomes($node, $breaker, 'open', 'failures open the breaker');
becomes($node, q{SELECT in_flight FROM skene.provider_status WHERE provider = 'resend'}, '0', 'nothing is under way');
sql(q{UPDATE skene.outbox SET next_attempt_at = clock_timestamp() WHERE state = 'pending'});
my $before = requests_of('down');
for my $probe (1 .. 3)
{
	sql(q{SELECT skene_resume('resend')});
	ok($node->poll_query_until('postgres', qq{SELECT sum(attempts) = $before + $probe
		 AND bool_and(state = 'pending') FROM skene.outbox WHERE user_id LIKE 'down%'}),
		"probe $probe: one request");
	becomes($node, $breaker, 'open', 'opens it again');
}
is(scalar(requests_of('down')), $before + 3, 'no other was sent');
cmp_ok(sql(q{SELECT count(*) FROM skene.outbox WHERE user_id LIKE 'down%' AND attempts >= 1}), '>=', 5,
	'probes take turns: one message at fault is not always the one');
resend_fault();
sql(q{SELECT skene_resume('resend')});
states_are($node, 'down', 'sent 8', 'a probe that succeeds closes it');

# Two databases, one key ---------------------------------------------------------------------------

sql('CREATE DATABASE other');
install($node, 'other');
sql("ALTER SYSTEM SET skene_gate.resend_rate = 10");
sql('SELECT pg_reload_conf()');
wait_until($node, $_, q{SELECT current_setting('skene_gate.resend_rate') = '10'}) for qw(postgres other);
$node->safe_psql($_, 'SELECT skene_pause()') for qw(postgres other);
enqueue('shared', 12);
enqueue('shared', 12, 'other');
$node->safe_psql('other', 'SELECT skene_resume()');
sql(q{SELECT skene_pause('stripe'); DELETE FROM skene.pauses WHERE provider = '*'; SELECT skene_resume('resend')});
states_are($node, 'shared', 'sent 12', 'two databases send');
ok($node->poll_query_until('other', q{SELECT bool_and(state = 'sent') FROM skene.outbox}), 'with one key');
my @times = sort { $a <=> $b } map { $_->{time} } requests_of('shared');
is(scalar(@times), 24, 'all of it');
cmp_ok($times[-1] - $times[0], '>', 2.0, 'at one rate');
sql("ALTER SYSTEM SET skene_gate.resend_rate = 1000");
sql('SELECT pg_reload_conf()');

# What is given up ---------------------------------------------------------------------------------

my $logged = -s $node->logfile;
sql('SELECT skene_pause()');
enqueue('old', 5);
sql(q{UPDATE skene.outbox SET unknown_since = clock_timestamp() - interval '23 hours', last_error = 'timeout'
       WHERE user_id = 'old_1';
      UPDATE skene.outbox SET unknown_since = clock_timestamp() - interval '22 hours 30 minutes'
       WHERE user_id = 'old_2';
      UPDATE skene.outbox SET first_attempt_at = clock_timestamp() - interval '3 days'
       WHERE user_id IN ('old_3', 'old_4');
      UPDATE skene.outbox SET state = 'leased', lease_token = gen_random_uuid(), attempts = 1,
             last_attempt_at = clock_timestamp() - interval '25 hours',
             lease_expires_at = clock_timestamp() - interval '24 hours'
       WHERE user_id = 'old_5'});
resend_fault(
	{ kind => 'status', status => 409, name => 'resource_locked', match => 'old_2@', retry_after => 3000 },
	{ kind => 'error', name => 'resource_locked', match => 'old_3@' },
	{ kind => 'error', name => 'application_error', match => 'old_4@' });
sql(q{SELECT skene_resume()});
my $end = q{SELECT concat_ws(' ', state, attempts, last_error) FROM skene.outbox WHERE user_id = '%s'};
my $forgotten = 'given up: for 23 hours nobody knows whether it was accepted';
becomes($node, sprintf($end, 'old_1'), "dead 0 timeout; $forgotten", 'a key that is about to be forgotten is not used');
becomes($node, sprintf($end, 'old_2'), "dead 1 HTTP 409 resource_locked: An unexpected error occurred.; $forgotten",
	'nor is one that would be by the next attempt');
becomes($node, sprintf($end, 'old_3'), 'dead 1 HTTP 409 resource_locked: The resource is locked.; given up: not accepted for 3 days',
	'what was refused for days is given up');
becomes($node, sprintf($end, 'old_4'), 'sent 2', 'but not while it may have been accepted');
becomes($node, sprintf($end, 'old_5'), "dead 1 the worker ended before the answer came; $forgotten",
	'a lease from before the server was down is not sent again');
is(join(' ', sort map { $_->{idempotency_key} } requests_of('old')), 'key_old_2 key_old_3 key_old_4 key_old_4',
	'no other request was made');
is(sql(q{SELECT skene_retry(outbox_id) FROM skene.outbox WHERE user_id = 'old_1'}), 't', 'skene_retry');
becomes($node, sprintf($end, 'old_1'), 'sent 1', 'sends it nevertheless');
is((requests_of('old'))[-1]{idempotency_key}, 'key_old_1', 'under its old key');

# A row that cannot be written -------------------------------------------------------------------------

sql(q{CREATE FUNCTION public.curse() RETURNS trigger LANGUAGE plpgsql
      AS $$ BEGIN RAISE EXCEPTION 'cursed'; END $$;
      CREATE TRIGGER curse BEFORE UPDATE ON skene.outbox FOR EACH ROW
      WHEN (NEW.user_id = 'cursed_2' AND NEW.state = 'sent') EXECUTE FUNCTION public.curse()});
enqueue('cursed', 3);
states_are($node, 'cursed', 'leased 1, sent 2', 'a row that cannot be settled holds up no other');
ok($node->poll_query_until('postgres', q{SELECT last_error = 'cursed' FROM skene_status()}), 'and is told of');
sql(q{DROP TRIGGER curse ON skene.outbox; DROP FUNCTION public.curse();
      UPDATE skene.outbox SET lease_expires_at = clock_timestamp() WHERE state = 'leased';
      SELECT skene_resume('resend')});
states_are($node, 'cursed', 'sent 3', 'when it can be written, it is sent again');
is(resend_counts()->{accepted_by_recipient}{'cursed_2@example.com'}, 1, 'and was accepted once');

# A change of settings lets a request finish ---------------------------------------------------------------

my $pid = worker_pid($node, 'postgres');
resend_fault({ kind => 'delay', seconds => 2 });
$before = resend_requests();
enqueue('late', 1);
becomes($node, q{SELECT state FROM skene.outbox WHERE user_id = 'late_1'}, 'leased', 'a request is under way');
sql(q{ALTER DATABASE postgres SET skene_gate.resend_batch = 2});
worker_runs($node, 'postgres', 'the worker starts again', $pid);
is(sql(q{SELECT state, attempts FROM skene.outbox WHERE user_id = 'late_1'}), 'sent|1', 'when the answer is there');

# Retention ------------------------------------------------------------------------------------------------

sql(q{UPDATE skene.outbox SET settled_at = clock_timestamp() - interval '31 days' WHERE user_id LIKE 'mail%';
      UPDATE skene.outbox SET settled_at = clock_timestamp() - interval '29 days' WHERE user_id LIKE 'free%';
      INSERT INTO skene.batches (idempotency_key, messages, body) VALUES ('left', 2, '[]')});
$node->reload;
becomes($node, q{SELECT count(*) FROM skene.outbox WHERE user_id LIKE 'mail%'}, '0', 'old rows are removed');
is(sql(q{SELECT count(*) FROM skene.outbox WHERE user_id LIKE 'free%'}), '20', 'others are not');
becomes($node, q{SELECT count(*) FROM skene.batches}, '0', 'nor are batches kept of which no message is left');
is(sql(q{SELECT bool_and(messages > 0 AND median_ms > 0) FROM skene.outbox_stats WHERE state = 'sent'}), 't',
	'outbox_stats sums up');

my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile, $logged);
cmp_ok(scalar(() = $log =~ /WARNING:  skene_gate gave up/g), '<=', 2, 'the log does not tell of each message');
like($log, qr/WARNING:  skene_gate could not write down what became of message \d+: cursed/, 'but of what is wrong');
done_testing();
