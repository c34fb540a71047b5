# A session that has changed a customer's rows and stays open, as in
# BEGIN; SELECT skene_cancel(17): the worker passes over what is locked, and looks again.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('locked');
$node->append_conf('postgresql.conf', "skene_gate.delivery = 'off'");
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Have customers denied, one after the other known to the worker.
sub deny
{
	my (@customers) = @_;
	for my $customer (@customers)
	{
		sql(qq{SELECT skene_identify('$customer', '$customer\@example.com');
		       SELECT skene_consume('$customer', 'export', 2)});
		wait_until($node, 'postgres',
			"SELECT count(*) = 1 FROM skene.outbox WHERE user_id = '$customer'");
	}
	return;
}

# Leave a session open that cancels a customer's message.
sub cancel
{
	my ($customer) = @_;
	my $session = $node->background_psql('postgres');
	$session->query_safe("BEGIN; SELECT skene_cancel(outbox_id) FROM skene.outbox WHERE user_id = '$customer'");
	return $session;
}

# Test what a query returns that must wait for nobody.
sub at_once
{
	my ($query, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my (undef, $stdout, $stderr) =
	  $node->psql('postgres', "SET lock_timeout = '1s'; $query");
	return is("$stdout$stderr", $expected, $test);
}

# Statement by statement -----------------------------------------------------------

deny('eve', 'fay', 'gil');
sql(q{SELECT skene_set_plan('eve', 'pro')});
my $answered = cancel('eve');

my $lease = q{SELECT o.user_id FROM skene.lease_outbox('resend', 1, 1, false, %s) l
	  JOIN skene.outbox o ON o.outbox_id = l.outbox_ids[1]};
# what the worker writes down of an attempt
my $settle = q{SELECT outbox_id, became FROM skene.settle_outbox((
	SELECT jsonb_agg(jsonb_build_object('id', outbox_id, 'token', lease_token, 'verdict', 'sent',
	                                    'status', 200, 'error', '', 'sent_id', 'x'))
	  FROM skene.outbox WHERE user_id = 'gil'))};
at_once(sprintf($lease, "'0 s'"), 'fay', 'a lease passes over a message that needs cancelling');
my $expired = $node->background_psql('postgres');
$expired->query_safe(q{BEGIN; SELECT FROM skene.outbox WHERE user_id = 'fay' FOR UPDATE});
my $tend = 'SELECT skene.tend_outbox()';
at_once($tend, '', 'what tends the outbox waits for nobody');
at_once(sprintf($lease, "'1 h'"), 'gil', 'and a lease over one that has run out');
my $settling = $node->background_psql('postgres');
for my $table (qw(outbox prompts))
{
	$settling->query_safe("BEGIN; SELECT FROM skene.$table WHERE user_id = 'gil' FOR UPDATE");
	like($node->safe_psql('postgres', "SET lock_timeout = '1s'; $settle"), qr/^\d+\|locked$/,
		"an answer whose row of $table is locked is left for later");
	$settling->query_safe('ROLLBACK');
}
at_once($settle, '', 'and is written when it is free');
is(sql(q{SELECT o.state, p.state FROM skene.outbox o JOIN skene.prompts p USING (prompt_id)
	   WHERE o.user_id = 'gil'}), 'sent|sent', 'once');
at_once($settle, '', 'by a lease that has passed nothing is');
at_once('SELECT skene.capture_outbox()', '0', 'and what is not locked is captured at once');

$_->query_safe('ROLLBACK') for $answered, $expired;
at_once($tend, '', 'the lease that had run out');
at_once(sprintf($lease, "'1 h'"), 'fay', 'is taken up again');
is(sql(q{SELECT state FROM skene.outbox WHERE user_id = 'eve'}), 'cancelled', 'and the other cancelled');

# The worker, end to end -----------------------------------------------------------

deny('ada', 'amy', 'bob');
my ($session, $brief) = (cancel('ada'), cancel('amy'));
sql(q{ALTER SYSTEM SET skene_gate.delivery = 'capture'});
$node->reload;
deny('cyd');
becomes($node, q{SELECT count(*) = 2 FROM skene.outbox WHERE user_id IN ('bob', 'cyd') AND state = 'captured'}, 't',
	'other customers have their mail');
$brief->query_safe('ROLLBACK');
becomes($node, q{SELECT state = 'captured' FROM skene.outbox WHERE user_id = 'amy'}, 't',
	'what was locked follows when the session gives it up');

sql(q{SELECT skene_consume('ada', 'export', 2) FROM generate_series(1, 9)});
deny('dan');
becomes($node, q{SELECT state = 'captured' FROM skene.outbox WHERE user_id = 'dan'}, 't',
	'also after more denials of the locked prompt');
is(sql(q{SELECT denials FROM skene.prompts WHERE user_id = 'ada'}), '1', 'which are not written yet');

$session->query_safe('ROLLBACK');
becomes($node, q{SELECT denials = 10 FROM skene.prompts WHERE user_id = 'ada'}, 't', 'they are when it is unlocked');
becomes($node, q{SELECT state = 'captured' FROM skene.outbox WHERE user_id = 'ada'}, 't', 'and its mail follows');
is(sql('SELECT notes_lost, denials_dropped FROM skene.worker_slots()'), '0|0', 'not one denial is lost');

# The fold -------------------------------------------------------------------------

my $identifying = $node->background_psql('postgres');
$identifying->query_safe(q{BEGIN; SELECT skene_identify('eli', 'eli@example.com')});
sql("SELECT skene_consume('$_', 'export')") for qw(eli flo);
becomes($node, q{SELECT used = 1 FROM skene.usage WHERE user_id = 'flo'}, 't',
	'a customer who is being identified does not hold up the usage of others');
is(sql(q{SELECT count(*) FROM skene.usage_events WHERE user_id = 'eli'}), '1', 'its own waits');
$identifying->query_safe('COMMIT');
becomes($node, q{SELECT used = 1 FROM skene.usage WHERE user_id = 'eli'}, 't', 'and follows');

$_->quit for $settling, $session, $brief, $answered, $expired, $identifying;
done_testing();
