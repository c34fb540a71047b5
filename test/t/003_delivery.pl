# Delivery to the provider, here a stand-in for Resend that misbehaves on demand: each
# message is accepted once, whatever fails; the key is shown to nobody.
use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use POSIX qw(mkfifo);
use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

start_resend();
my $node = new_server('delivery');
use_resend($node);
$node->append_conf('postgresql.conf', <<'CONF');
restart_after_crash = on
skene_gate.delivery = 'off'
skene_gate.max_requests = 8
skene_gate.resend_batch = 1
CONF
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# A setting for the whole server, by reload.
sub set
{
	my ($name, $value) = @_;
	sql("ALTER SYSTEM SET skene_gate.$name = '$value'");
	$node->reload;
	return;
}

# Have a message enqueued for each of some new customers.
sub enqueue
{
	my $users = join ', ', map { "'$_'" } @_;
	sql(qq{SELECT skene_identify(u, u || '\@example.com') FROM unnest(ARRAY[$users]) u;
	       SELECT skene_consume(u, 'export'), skene_consume(u, 'export') FROM unnest(ARRAY[$users]) u});
	wait_until($node, 'postgres',
		'SELECT count(*) = ' . @_ . " FROM skene.outbox WHERE user_id IN ($users)");
	return;
}

# Test that a customer's message comes to look like this: state, attempts, last status,
# state of the prompt.
sub delivery_is
{
	my ($user, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $query = qq{
		SELECT concat_ws(' ', o.state, o.attempts, o.last_status, p.state)
		  FROM skene.outbox o JOIN skene.prompts p USING (prompt_id) WHERE o.user_id = '$user'};
	return ok($node->poll_query_until('postgres', $query, $expected), $test)
	  || diag($node->safe_psql('postgres', $query));
}

# The requests made for a customer's message. Under one key, all with the same bytes.
sub requests_for
{
	my ($user) = @_;
	my ($key, $body) = split /\|/,
	  sql("SELECT idempotency_key, body FROM skene.outbox WHERE user_id = '$user'"), 2;
	my @requests = grep { ($_->{idempotency_key} // '') eq $key } resend_requests();
	is_deeply([ grep { $_->{body} ne $body } @requests ], [], "$user: the bytes of the outbox");
	return @requests;
}

# Switching on -------------------------------------------------------------------------

enqueue('ada');
delivery_is('ada', 'pending 0 queued', 'delivery = off leaves it pending');
set('delivery', 'on');
delivery_is('ada', 'sent 1 200 sent', 'a reload that says on sends it');
my ($request) = requests_for('ada');
is($request->{method} . $request->{path}, 'POST/emails', 'to the right place');
is( $request->{headers}{authorization},
	'sha256:' . substr(sha256_hex("Bearer $api_key"), 0, 16), 'with the API key');
like($request->{headers}{'user-agent'}, qr{^skene_gate/\d}, 'a user agent');
is($request->{headers}{'content-type'}, 'application/json', 'and the type of content');
like(sql(q{SELECT provider_id FROM skene.outbox WHERE user_id = 'ada'}),
	qr/^[0-9a-f-]{36}$/, 'the id that the provider gave is kept');

sql(q{ALTER DATABASE postgres SET skene_gate.delivery = 'capture'});
enqueue('bob');
delivery_is('bob', 'captured 0 queued', 'ALTER DATABASE SET reaches the worker');
sql('ALTER DATABASE postgres RESET skene_gate.delivery');
enqueue('cyd');
delivery_is('cyd', 'sent 1 200 sent', 'so does RESET');

sql(q{SELECT skene_pause('resend')});
enqueue('dan');
sql(q{SELECT skene_set_plan('dan', 'pro')});
enqueue('eve');
delivery_is('eve', 'pending 0 queued', 'a pause holds it');
sql(q{SELECT skene_resume('resend')});
delivery_is('eve', 'sent 1 200 sent', 'until it is resumed');
delivery_is('dan', 'cancelled 0 cancelled', 'who has paid meanwhile is asked no more');
is(scalar(requests_for('dan')), 0, 'not once');

sql(q{SELECT skene_pause('resend')});
enqueue('dot');
is(sql(q{SELECT skene_cancel(outbox_id) FROM skene.outbox WHERE user_id = 'dot'}), 't', 'cancelling');
delivery_is('dot', 'cancelled 0 cancelled', 'ends the message and its prompt');
sql(q{SELECT skene_resume('resend')});

# What goes wrong ----------------------------------------------------------------------

resend_fault({ kind => 'status', status => 503 });
enqueue('fay');
delivery_is('fay', 'sent 2 200 sent', 'after a 503 it is sent at the second attempt');
is(scalar(requests_for('fay')), 2, 'under the same key');

resend_fault({ kind => 'truncated' });
enqueue('gil');
delivery_is('gil', 'sent 2 200 sent', 'an answer that did not arrive whole');
is(scalar(requests_for('gil')), 2, 'is asked for again');

resend_fault({ kind => 'status', status => 429, name => 'rate_limit_exceeded', retry_after => 3 });
enqueue('hal');
delivery_is('hal', 'sent 2 200 sent', 'a rate limit');
my @tries = requests_for('hal');
cmp_ok($tries[1]{time} - $tries[0]{time}, '>=', 3, 'is waited out as long as Retry-After says');

resend_fault({ kind => 'status', status => 422, name => 'validation_error', message => 'No.' });
enqueue('ivy');
delivery_is('ivy', 'dead 1 422 failed', 'a message that cannot be accepted is dead');
is(sql(q{SELECT error FROM skene.prompts WHERE user_id = 'ivy'}),
	'HTTP 422 validation_error: No.', 'and says why');
sql(q{SELECT skene_retry(outbox_id) FROM skene.outbox WHERE user_id = 'ivy'});
delivery_is('ivy', 'sent 2 200 sent', 'until somebody retries');

# A key that is not accepted concerns every message.
my $logged = -s $node->logfile;
resend_fault({ kind => 'status', status => 401, name => 'restricted_api_key', times => -1 });
enqueue('jan');
delivery_is('jan', 'pending 1 401 queued', 'a refused key ends no message');
is( sql(q{SELECT until > clock_timestamp() + interval '4 min' FROM skene.provider_status}),
	't', 'but halts the provider');
enqueue('kim');
delivery_is('kim', 'pending 0 queued', 'and the next is not even tried');
like(sql('SELECT last_error FROM skene_status()'), qr/HTTP 401 restricted_api_key/,
	'skene_status tells of it');
like(sql('SELECT breakers FROM skene_status()'),
	qr/^\{"resend: open until .* \(HTTP 401 restricted_api_key: /, 'and of the breaker');
resend_fault();
sql(q{SELECT skene_retry(outbox_id) FROM skene.outbox WHERE user_id = 'jan'});
delivery_is('jan', 'sent 2 200 sent', 'who has mended it says so with skene_retry');
delivery_is('kim', 'sent 1 200 sent', 'and the rest follows');
is(sql('SELECT breakers FROM skene_status()'), '{"resend: closed"}', 'the breaker is closed');
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile, $logged);
is(scalar(() = $log =~ /skene_gate cannot deliver/g), 1, 'the log has one warning');
is(scalar(() = $log =~ /skene_gate delivers to resend again/g), 1, 'and one all-clear');

# Where the key may lie ------------------------------------------------------------------

my $key_file = sql('SHOW skene_gate.resend_api_key_file');
chmod 0640, $key_file;
enqueue('lea');
my $told = q{SELECT last_error FROM skene_status()};
ok( $node->poll_query_until('postgres', $told,
		'the file named by skene_gate.resend_api_key_file has group or world access; '
		  . 'it needs mode 0600, or 0640 if owned by root'),
	'a key file that others can read is refused');
append_to_file($node->data_dir . '/key', "$api_key\n");
chmod 0600, $node->data_dir . '/key', $key_file;
set('resend_api_key_file', $node->data_dir . '/key');
ok( $node->poll_query_until('postgres', $told,
		'the file named by skene_gate.resend_api_key_file lies in the data directory, '
		  . 'so that copies of it would carry the secret'),
	'as is one in the data directory');
set('resend_api_key_file', '/nowhere/key');
ok( $node->poll_query_until('postgres', $told,
		'could not open the file named by skene_gate.resend_api_key_file: No such file or directory'),
	'a missing one is named by its setting');
set('resend_api_key_file', write_secret('two_keys', "$api_key\n# the old one"));
ok( $node->poll_query_until('postgres', $told,
		'the file named by skene_gate.resend_api_key_file must hold one key and nothing else'),
	'one that holds more than a key stops delivery');
delivery_is('lea', 'pending 0 queued', 'meanwhile nothing is sent');
set('resend_api_key_file', $key_file);
delivery_is('lea', 'sent 1 200 sent', 'with a good file it is');

# The same rules hold for every secret; that of the webhook is read at each call.
sub refusal_of
{
	my ($path) = @_;
	my (undef, undef, $stderr) = $node->psql('postgres',
		"SET skene_gate.stripe_webhook_secret_file = '$path';\nSELECT skene_stripe_webhook('{}'::text, 't=1,v1=00')");
	return $stderr =~ /DETAIL:  (.*)/ ? $1 : $stderr;
}
my $secrets = PostgreSQL::Test::Utils::tempdir();
mkfifo("$secrets/fifo", 0600) or BAIL_OUT("mkfifo: $!");
symlink $node->data_dir . '/key', "$secrets/link" or BAIL_OUT("symlink: $!");
my $named = 'the file named by skene_gate.stripe_webhook_secret_file';
for my $case (
	[ '', 'skene_gate.stripe_webhook_secret_file is not set.' ],
	[ $secrets, "$named is not a regular file." ],
	[ "$secrets/fifo", "$named is not a regular file." ],
	[ '/dev/zero', "$named is not a regular file." ],
	[ '/etc/passwd', "$named has group or world access; it needs mode 0600, or 0640 if owned by root." ],
	[ "$secrets/link",
		"$named lies in the data directory, so that copies of it would carry the secret." ],
	[ write_secret('blank', " \t\n"), "$named is empty." ],
	[ write_secret('large', 'x' x 100_000), "$named is too large." ],
	[ write_secret('good', 'whsec_0123456789abcdef'), 'No v1 signature matches a configured secret.' ])
{
	my ($path, $expected) = @$case;
	is(refusal_of($path), $expected, "the webhook's secret in '$path'");
}

for my $bad ([ 'resend_api_key_file', 'key' ], [ 'resend_base_url', 'http://api.resend.com' ])
{
	my ($name, $value) = @$bad;
	my (undef, undef, $stderr) =
	  $node->psql('postgres', "ALTER SYSTEM SET skene_gate.$name = '$value'");
	like($stderr, qr/invalid value for parameter "skene_gate.$name"/, "$name = $value is refused");
}

# A worker that dies while a request is under way ------------------------------------------

my $requests = resend_requests();
resend_fault({ kind => 'hang' });
enqueue('hung');
resend_requests($requests + 1);
enqueue('mia');
delivery_is('mia', 'sent 1 200 sent', 'a request that hangs holds up no other');
delivery_is('hung', 'leased 1 queued', 'its lease holds');
sql(q{SELECT skene.settle_outbox(jsonb_build_array(jsonb_build_object('id', outbox_id,
	'token', gen_random_uuid(), 'verdict', 'sent'))) FROM skene.outbox WHERE user_id = 'hung'});
delivery_is('hung', 'leased 1 queued', 'a lease of another time settles nothing');
is( sql(qq{SELECT count(*) FROM pg_stat_activity a WHERE to_json(a)::text LIKE '%' || '$api_key' || '%'
              AND pid <> pg_backend_pid()}), '0', 'pg_stat_activity does not show the key');

resend_fault({ kind => 'hang', times => 7 });
enqueue(map { "hung_$_" } 2 .. 8);
resend_requests($requests + 9);
enqueue('nia');
enqueue('pia');    # so the worker has looked for nia's by now
delivery_is('nia', 'pending 0 queued', 'eight of them do');

my $pid = worker_pid($node, 'postgres');
kill 'KILL', $pid;
worker_runs($node, 'postgres', 'the worker comes back after a crash', $pid);
delivery_is('nia', 'sent 1 200 sent', 'and sends what it had no hand free for');
delivery_is('hung', 'leased 1 queued', 'the lease holds still');
sql(q{UPDATE skene.outbox SET lease_expires_at = clock_timestamp() WHERE state = 'leased'});
$node->reload;
delivery_is('hung', 'sent 2 200 sent', 'when it has run out, the message is sent again');
is(scalar(requests_for('hung')), 2, 'under the same key');

# No faster than told ------------------------------------------------------------------------

# Whatever was saved up before, within a time no more than rate * (1 s + time) may leave.
set('resend_rate', 4);
sql(q{SELECT skene_pause('resend')});
enqueue(map { "quick_$_" } 1 .. 8);
my $resumed = sql(q{SELECT clock_timestamp() FROM skene_resume('resend')});
wait_until($node, 'postgres',
	q{SELECT count(*) = 8 FROM skene.outbox WHERE user_id LIKE 'quick%' AND state = 'sent'});
is( sql(qq{SELECT max(first_attempt_at) >= '$resumed'::timestamptz + interval '1 s'
             FROM skene.outbox WHERE user_id LIKE 'quick%'}),
	't', 'eight messages at four a second: the last after a second');
set('resend_rate', 100);

# In the end -------------------------------------------------------------------------------

my $counts = resend_counts();
is_deeply([ grep { $_ != 1 } values %{ $counts->{accepted_by_key} } ], [], 'each was accepted once');
is($counts->{accepted}, sql(q{SELECT count(*) FROM skene.outbox WHERE state = 'sent'}),
	'and all that count as sent');
my ($dump) = run_command([ 'pg_dump', '--inserts', $node->connstr('postgres') ]);
like($dump, qr/ada\@example\.com/, 'a dump has the messages');
unlike($dump, qr/\Q$api_key\E/, 'but not the key');
# this test's own look at pg_stat_activity is not logged: log_statement is none
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/\Q$api_key\E/, 'nor has the log');

done_testing();
