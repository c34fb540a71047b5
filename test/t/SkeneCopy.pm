# SkeneCopy.pm: what the tests of dumps, clones and upgrades share: a database with
# something in every table, what has to be the same in its copy, and whether a copy is
# fenced, so that it sends nothing.
package SkeneCopy;

use strict;
use warnings;

use Exporter 'import';
use SkeneGate;
use Test::More;

our @EXPORT = qw(fill_tables settle enqueue rows_of sequences_of state_of comes_to_be is_fenced);

# Have a prompt enqueued for a new customer.
sub enqueue
{
	my ($node, $database, $user) = @_;
	$node->safe_psql($database, qq{
		SELECT skene_identify('$user', '$user\@example.com');
		SELECT skene_consume('$user', 'export'), skene_consume('$user', 'export')});
	wait_until($node, $database, "SELECT count(*) = 1 FROM skene.outbox WHERE user_id = '$user'");
	return;
}

# Put something into every table; delivery has to be off. The messages of "sent" and
# "waiting" are what their names say.
sub fill_tables
{
	my ($node, $database) = @_;
	$node->safe_psql($database, q{
		SELECT count(*) FROM skene_apply($$ { "templates": {
		    "upgrade_prompt": { "subject": "Our own", "text": "Hello {{name}}" } } } $$);
		SELECT skene_identify('ada', 'ada@example.com', 'Ada', '{"k": "a\tb"}');
		SELECT skene_consume('ada', 'export', 1, 'key-1');
		SELECT skene_override('ada', 'export', 7);
		SELECT skene_set_plan('paid', 'pro');
		SELECT skene_identify('silent'), skene_identify('eve'); -- or a copy's fold does
		SELECT skene_consume('silent', 'export'), skene_consume('silent', 'export');
		SELECT skene_pause('stripe');
		SELECT skene_suppress('nobody@example.com', 'bounced');
		INSERT INTO skene.grants (user_id, feature, amount) VALUES ('ada', 'export', 5);
		INSERT INTO skene.usage_events (user_id, feature, period, window_start, window_end, amount)
		    VALUES ('eve', 'export', '30d', '2026-01-01 UTC', '2026-01-31 UTC', 2);
		INSERT INTO skene.usage VALUES ('eve', 'export', 'lifetime', '-infinity', 'infinity', 3);
		INSERT INTO skene.webhook_events (provider, event_id, event_type, created_at, livemode, result)
		    VALUES ('stripe', 'evt_1', 'customer.subscription.created', now(), false, 'applied')});
	wait_until($node, $database,
		q{SELECT state = 'no_address' FROM skene.prompts WHERE user_id = 'silent'});
	enqueue($node, $database, $_) for qw(sent waiting);
	$node->safe_psql($database, q{
		UPDATE skene.outbox SET state = 'sent' WHERE user_id = 'sent';
		WITH batch AS (
			INSERT INTO skene.batches (idempotency_key, messages, body) VALUES ('batch-1', 1, '[]')
			RETURNING batch_id)
		UPDATE skene.outbox SET batch_id = batch.batch_id, batch_place = 1 FROM batch WHERE user_id = 'waiting'});
	return;
}

# Wait until the worker has nothing more to change: all usage is folded.
sub settle
{
	my ($node, $database) = @_;
	wait_until($node, $database, 'SELECT count(*) = 0 FROM skene.usage_events');
	return;
}

# A query for each of the extension's relations that a condition picks, their results in
# one list.
sub of_each
{
	my ($node, $database, $condition, $format) = @_;
	my $query = $node->safe_psql($database, qq{
		SELECT string_agg(format(\$format\$$format\$format\$, relname), ' UNION ALL ' ORDER BY relname)
		  FROM pg_class WHERE relnamespace = 'skene'::regnamespace AND ($condition)});
	return $node->safe_psql($database, $query);
}

# Number and digest of the rows of every table but instance, which tells copies apart. Of
# usage it is the totals: the fold may be at work. Columns may be left out by name.
sub rows_of
{
	my ($node, $database, @without) = @_;
	my $without = join ',', @without;
	return of_each($node, $database, q{relname = 'usage_totals'
		OR relkind = 'r' AND relname NOT IN ('instance', 'usage', 'usage_events')}, qq{
		SELECT '%1\$s', count(*), md5(string_agg(t, E'\\n' ORDER BY t COLLATE "C"))
		  FROM (SELECT (to_jsonb(r) - '{$without}'::text[])::text AS t FROM skene.%1\$I r) AS rows});
}

sub sequences_of
{
	my ($node, $database) = @_;
	return of_each($node, $database, "relkind = 'S'", q{SELECT '%1$s', last_value, is_called FROM skene.%1$I});
}

sub state_of
{
	my ($node, $database, $user) = @_;
	return $node->safe_psql($database, "SELECT state FROM skene.outbox WHERE user_id = '$user'");
}

# Test that a customer's message comes to be in a state.
sub comes_to_be
{
	my ($node, $database, $user, $state, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until($database,
		"SELECT state FROM skene.outbox WHERE user_id = '$user'", $state), $test);
}

# Test that a copy with delivery on is fenced. The prompt of a second denial shows that
# the worker has been through its outbox since the first one.
sub is_fenced
{
	my ($node, $database, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $requests = resend_requests();
	enqueue($node, $database, "${database}_$_") for 1, 2;
	is( $node->safe_psql($database, 'SELECT fenced, delivery, worker FROM skene_status()'),
		't|on|running', $test);
	is( $node->safe_psql($database,
			q{SELECT string_agg(DISTINCT state, ' ') FROM skene.outbox WHERE user_id <> 'sent'}),
		'pending', 'its messages stay pending');
	return is(scalar(resend_requests()), $requests, 'and nothing is sent');
}

1;
