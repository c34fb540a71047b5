# A backlog leaves in batches: what is in one, and its key, never changes; each message has
# its own end, and each arrives once, whatever fails.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use JSON::PP ();
use Test::More;

start_resend('--no-files');
my $node = new_server('batches');
use_resend($node);
$node->append_conf('postgresql.conf', <<'CONF');
skene_gate.delivery = 'on'
skene_gate.resend_rate = 20
restart_after_crash = on
fsync = off
CONF
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Enqueue messages, named NAME_1 and so on, all at once. A body may be given.
sub enqueue
{
	my ($name, $count, $body) = @_;
	$body //= q{jsonb_build_object('from', 'a@acme.test', 'to', to_char(i, '"%s_"FM999999') || '@example.com',
		'subject', 'Hello', 'text', 'x')::text};
	$body =~ s/%s/$name/;
	sql(qq{INSERT INTO skene.outbox (provider, path, body, idempotency_key, user_id)
	       SELECT 'resend', '/emails', $body, '${name}_' || i, '${name}_' || i
	         FROM generate_series(1, $count) i});
	return;
}

# Test that messages of a name were accepted once each.
sub once_each
{
	my ($name, $count) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $by = resend_counts()->{accepted_by_recipient};
	my @of = map { $by->{$_} } grep { /^${name}_/ } keys %$by;
	is(scalar(@of), $count, "$name: all were accepted");
	return is(scalar(grep { $_ != 1 } @of), 0, "$name: once each");
}

# A backlog -----------------------------------------------------------------------------

enqueue('many', 230);
states_are($node, 'many', 'sent 230', 'a backlog is sent');
my @requests = requests_of('many');
is(join(' ', map { $_->{path} } @requests), join(' ', ('/emails/batch') x 3), 'in three batches');
is($requests[0]{headers}{'x-batch-validation'}, 'permissive', 'which may be accepted in part');
is(scalar(keys %{ { map { $_->{idempotency_key} => 1 } @requests } }), 3, 'with a key each');
once_each('many', 230);
is(sql(q{SELECT count(DISTINCT provider_id) FROM skene.outbox WHERE user_id LIKE 'many%'}), '230',
	'each has its id');
is(sql(q{SELECT count(*) FROM skene.outbox WHERE batch_id IS NOT NULL}), '0', 'no batch is left');
is(sql('SELECT count(*) FROM skene.batches'), '0', 'nor its bytes');
is(sql(q{SELECT bool_and(first_byte_ms > 0 AND total_ms >= first_byte_ms) FROM skene.outbox}), 't',
	'times were taken');
my ($mail) = grep { $_->{to} eq 'many_7@example.com' } map { @{ JSON::PP::decode_json($_->{body}) } } @requests;
is_deeply($mail, { from => 'a@acme.test', to => 'many_7@example.com', subject => 'Hello', text => 'x' },
	'bodies are as they were enqueued');

enqueue('one', 1);
states_are($node, 'one', 'sent 1', 'a single message');
is((requests_of('one'))[0]{path}, '/emails', 'goes alone');

# Bad messages among good ones --------------------------------------------------------------

sql('SELECT skene_pause()');
enqueue('good', 40);
enqueue('bad', 1, q{'{"from": "nobody", "to": "bad_1@example.com", "subject": "x", "text": "y"}'});
enqueue('broken', 1, q('{"to": "broken_1@example.com'));
enqueue('attached', 1, q{'{"from": "a@acme.test", "to": "attached_1@example.com", "subject": "x",
	"text": "y", "attachments": []}'});
enqueue('better', 40);
sql('SELECT skene_resume()');
states_are($node, 'good', 'sent 40', 'what is good in a batch is sent');
states_are($node, 'better', 'sent 40', 'also behind what is bad');
states_are($node, 'bad', 'dead 1', 'what is refused in a batch is judged by an answer of its own');
is(sql(q{SELECT attempts, last_status, last_error ~ 'invalid_from_address' FROM skene.outbox
	      WHERE user_id = 'bad_1'}), '2|422|t', 'which says why');
states_are($node, 'broken', 'dead 1', 'what is not JSON was in no batch');
is(join(' ', map { $_->{path} } requests_of('broken')), '/emails', 'and died of itself');
states_are($node, 'attached', 'sent 1', 'attachments go alone');
is(join(' ', map { $_->{path} } requests_of('attached')), '/emails', 'at once');
once_each($_, 40) for qw(good better);

# A batch that is refused as a whole
resend_fault({ kind => 'error', name => 'missing_required_field', path => '/emails/batch' });
enqueue('whole', 12);
states_are($node, 'whole', 'sent 12', 'messages of a batch that is refused are sent alone');
once_each('whole', 12);

# The same after an attempt that may have been accepted: another key could send it twice.
resend_fault(
	{ kind => 'error', name => 'application_error', path => '/emails/batch' },
	{ kind => 'error', name => 'missing_required_field', path => '/emails/batch' });
enqueue('unsure', 12);
states_are($node, 'unsure', 'dead 12', 'but not after an attempt that may have been accepted');

resend_fault(
	{ kind => 'reset', after_accept => JSON::PP::true, path => '/emails/batch' },
	{ kind => 'error', name => 'missing_required_field', path => '/emails/batch' });
enqueue('torn', 12);
states_are($node, 'torn', 'dead 12', 'nor when libcurl has sent the batch twice');
once_each('torn', 12);

# Batches that fail ---------------------------------------------------------------------------

my %fails = (
	cut    => { kind => 'truncated' },
	lost   => { kind => 'reset', after_accept => JSON::PP::true },
	failed => { kind => 'error', name => 'application_error' },
	busy   => { kind => 'error', name => 'concurrent_idempotent_requests' });
resend_fault(map { { %{ $fails{$_} }, path => '/emails/batch', match => "\"${_}_" } } sort keys %fails);
for my $name (sort keys %fails)
{
	# not with others in one batch
	enqueue($name, 30);
	wait_until($node, 'postgres', "SELECT bool_and(attempts > 0) FROM skene.outbox WHERE user_id LIKE '${name}\\_%'");
}
for my $name (sort keys %fails)
{
	states_are($node, $name, 'sent 30', "$name: a batch is repeated");
	my @tries = requests_of($name);
	is(scalar(@tries), 2, "$name: once");
	is($tries[1]{$_}, $tries[0]{$_}, "$name: same $_") for qw(path idempotency_key body);
	once_each($name, 30);
}

# The worker dies while one is under way; the provider has taken it.
my $requests = resend_requests();
resend_fault({ kind => 'hang', after_accept => JSON::PP::true, path => '/emails/batch' });
enqueue('orphan', 30);
resend_requests($requests + 1);
my $pid = worker_pid($node, 'postgres');
is(sql(q{SELECT skene_cancel(outbox_id) FROM skene.outbox WHERE user_id = 'orphan_3'}), 'f',
	'a message under way cannot be cancelled');
kill 'KILL', $pid;
worker_runs($node, 'postgres', 'the worker comes back after a crash', $pid);
states_are($node, 'orphan', 'leased 30', 'the leases hold');
sql(q{UPDATE skene.outbox SET lease_expires_at = clock_timestamp() WHERE state = 'leased'});
# a session has one of them locked: the batch waits as a whole
my $session = $node->background_psql('postgres');
$session->query_safe(q{BEGIN; SELECT FROM skene.outbox WHERE user_id = 'orphan_3' FOR UPDATE});
$node->reload;
enqueue('others', 3);
states_are($node, 'others', 'sent 3', 'others pass it');
is(sql(q{SELECT count(*) FROM skene.outbox WHERE user_id LIKE 'orphan%' AND state = 'sent'}), '0',
	'a batch waits while one of its messages is locked');
is(sql(q{SELECT skene_cancel(outbox_id) FROM skene.outbox WHERE user_id = 'orphan_4'}), 'f',
	'nor can one whose batch will be sent again');
$session->query_safe('COMMIT');
states_are($node, 'orphan', 'sent 30', 'then it is sent again');
my @tries = requests_of('orphan');
is($tries[1]{$_}, $tries[0]{$_}, "with the same $_") for qw(idempotency_key body);
once_each('orphan', 30);
$session->quit;

# What may have been accepted under its own key stays out of batches; one whose batch somebody
# has deleted goes anew.
sql('SELECT skene_pause()');
enqueue('doubt', 20);
enqueue('bereft', 2);
sql(q{UPDATE skene.outbox SET batch_id = 1, batch_place = 1 WHERE user_id LIKE 'bereft%'});
sql(q{UPDATE skene.outbox SET unknown_since = clock_timestamp() WHERE user_id = 'doubt_5'});
sql('SELECT skene_resume()');
states_are($node, 'bereft', 'sent 2', 'messages of a batch that is gone are sent');
states_are($node, 'doubt', 'sent 20', 'a message whose outcome is unknown');
is(join(' ', map { "$_->{path} $_->{idempotency_key}" } grep { $_->{body} =~ /doubt_5@/ } resend_requests()),
	'/emails doubt_5', 'goes under its own key');

# A connection that was kept ends without an answer: libcurl sends the request again, and what
# is refused then may have been accepted before.
resend_fault(
	{ kind => 'reset', after_accept => JSON::PP::true, match => '"twice_1@' },
	{ kind => 'error', name => 'resource_locked', match => '"twice_1@' });
enqueue('twice', 1);
wait_until($node, 'postgres', q{SELECT attempts = 1 AND state = 'pending' FROM skene.outbox WHERE user_id = 'twice_1'});
is(sql(q{SELECT last_status, unknown_since IS NOT NULL FROM skene.outbox WHERE user_id = 'twice_1'}), '409|t',
	'the refusal of a second copy leaves the first one in doubt');
states_are($node, 'twice', 'sent 1', 'it is sent again');
is(join(' ', map { $_->{idempotency_key} } requests_of('twice')), 'twice_1 twice_1 twice_1', 'under its own key');
once_each('twice', 1);

# skene_gate.resend_batch = 1
sql('ALTER SYSTEM SET skene_gate.resend_batch = 1');
$node->reload;
enqueue('single', 5);
states_are($node, 'single', 'sent 5', 'batches can be switched off');
is(join(' ', map { $_->{path} } requests_of('single')), join(' ', ('/emails') x 5), 'they are');
sql('ALTER SYSTEM RESET skene_gate.resend_batch');

# Ten thousand ---------------------------------------------------------------------------------

sql('ALTER SYSTEM SET skene_gate.resend_rate = 50');
$node->reload;
$requests = resend_requests();
enqueue('bulk', 10_000);
states_are($node, 'bulk', 'sent 10000', 'ten thousand messages are sent');
cmp_ok(resend_requests() - $requests, '<=', 10_000 / 20,
	'in a twentieth of the requests, and so of the time, that single calls take');
once_each('bulk', 10_000);

is(sql('SELECT count(*) FROM skene.batches'), '0', 'nothing is left of batches');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/ERROR:/, 'the log has no error');
done_testing();
