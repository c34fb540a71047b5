# Rules of e-mail that take a worker: prompts for usage that reaches a level.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('mail_rules');
$node->append_conf('postgresql.conf', "skene_gate.fold_interval = '50ms'");
$node->start;
install($node);

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Test that a customer's prompts come to be these: feature, kind, state, denials, subject.
sub prompts_are
{
	my ($user, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return becomes($node, qq{
		SELECT string_agg(concat_ws(' ', p.feature, p.kind, p.state, p.denials), ', ' ORDER BY p.prompt_id)
		  FROM skene.prompts p WHERE p.user_id = '$user'}, $expected, $test);
}

# Wait until everything that is committed is folded.
sub fold
{
	wait_until($node, 'postgres', 'SELECT count(*) = 0 FROM skene.usage_events');
	return;
}

# Usage that reaches a level --------------------------------------------------------------

sql(q{SELECT count(*) FROM skene_apply($$ { "features": {
	"reached": { "limit": { "free": 5, "pro": 50 }, "period": "30d", "promptOn": "reached" },
	"both":    { "limit": { "free": 10, "pro": 50 }, "period": "30d", "promptOn": "reached", "warnAt": [80, 50] },
	"warned":  { "limit": { "free": 10, "pro": 50 }, "period": "30d", "warnAt": 80 } } } $$)});
sql("SELECT skene_identify('$_', '$_\@example.com')") for qw(amy bob cyd dan eve fay gil);

sql(q{SELECT skene_consume('amy', 'reached', 4)});
fold();
sql(q{SELECT skene_consume('amy', 'reached')});
prompts_are('amy', 'reached limit_reached queued 0', 'the last unit is used: a prompt, before any denial');
sql(q{SELECT skene_consume('amy', 'reached')});
prompts_are('amy', 'reached limit_reached queued 1', 'a denial is another reason, not another prompt');
is(sql(q{SELECT count(*) FROM skene.outbox WHERE user_id = 'amy'}), '1', 'nor another e-mail');
sql(q{SELECT skene_refund('amy', 'reached'), skene_consume('amy', 'reached')});
sql(q{BEGIN; SELECT skene_consume('bob', 'reached', 5); ROLLBACK});
sql(q{SELECT skene_consume('bob', 'reached', 4), skene_consume('bob', 'export')});
sql(q{SELECT skene_override('cyd', 'reached', 9), skene_consume('cyd', 'reached', 8)});
sql(q{SELECT skene_grant('dan', 'reached', 3), skene_consume('dan', 'reached', 6)});
fold();
prompts_are('amy', 'reached limit_reached queued 1', 'reached once more is reached already');
prompts_are('bob', '', 'what is rolled back reaches nothing; a feature that does not ask is not prompted');
prompts_are('cyd', '', 'an override is the limit');
prompts_are('dan', '', 'a grant is more than the limit');
sql(q{SELECT skene_consume('cyd', 'reached')});
prompts_are('cyd', 'reached limit_reached queued 0', 'until it is reached');
sql(q{SELECT skene_refund('bob', 'reached', 4), skene_consume('bob', 'reached', 5)});
prompts_are('bob', 'reached limit_reached queued 0', 'in any number of steps');

sql(q{SELECT skene_consume('eve', 'warned', 7)});
fold();
prompts_are('eve', '', 'below the warning');
sql(q{SELECT skene_consume('eve', 'warned')});
prompts_are('eve', 'warned warning queued 0', 'at 80 per cent there is a warning');
is( sql(q{SELECT subject, text ~ 'Plan pro includes more: https://acme.test/upgrade' FROM skene.mailbox
	   WHERE user_id = 'eve'}),
	'You have used 8 of 10 units of warned|t', 'which says how much is left');
sql(q{SELECT skene_consume('eve', 'warned', 2), skene_consume('eve', 'warned')});
prompts_are('eve', 'warned warning queued 0, warned limit_reached queued 1', 'then the denial');
sql(q{SELECT skene_consume('fay', 'both', 5)});
prompts_are('fay', 'both warning queued 0', 'of several warnings the first one');
sql(q{SELECT skene_consume('fay', 'both', 4)});
sql(q{SELECT skene_consume('gil', 'both', 10)});
prompts_are('gil', 'both limit_reached queued 0', 'no warning at the limit');
fold();
prompts_are('fay', 'both warning queued 0', 'and no other');
sql(q{SELECT skene_consume('fay', 'both')});
prompts_are('fay', 'both warning queued 0, both limit_reached queued 0', 'before the limit');

# A level whose prompt cannot be written holds up no usage, nor the other levels.
sql(q{SELECT skene_identify('bad', 'bad@example.com'), skene_identify('good', 'good@example.com')});
sql(q{ALTER TABLE skene.prompts ADD CONSTRAINT never CHECK (user_id <> 'bad')});
sql(q{SELECT skene_consume('bad', 'reached', 5), skene_consume('good', 'reached', 5)});
prompts_are('good', 'reached limit_reached queued 0', 'beside one that fails');
becomes($node, q{SELECT used FROM skene.usage WHERE user_id = 'bad'}, '5', 'the usage is folded');
like(sql('SELECT last_error FROM skene_status()'), qr/never/, 'and the status says what was wrong');
sql(q{ALTER TABLE skene.prompts DROP CONSTRAINT never});

# skene_reset takes the prompts before any row, and so does the fold.
my $session = $node->background_psql('postgres');
$session->query_safe(q{BEGIN; LOCK TABLE skene.prompts IN SHARE ROW EXCLUSIVE MODE});
sql(q{SELECT skene_consume('good', 'warned', 8)});
wait_until($node, 'postgres',
	q{SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'skene.prompts'::regclass AND NOT granted)});
$session->query_safe(q{SELECT skene_reset('good'); COMMIT});
$session->quit;
sql(q{SELECT skene_consume('good', 'warned', 8)});
prompts_are('good', 'warned warning queued 0', 'a reset and a fold at once end in order');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/deadlock detected/, 'and not in a deadlock');

# A sequence, in time -------------------------------------------------------------------

sub travel
{
	sql("ALTER SYSTEM SET skene_gate.clock_offset = '$_[0]'");
	$node->reload;
	return;
}

# Test which messages of a customer come to be captured.
sub captured
{
	my ($user, $expected, $test) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return becomes($node, qq{SELECT string_agg(step || ' ' || state, ', ' ORDER BY step) FROM skene.mailbox
		WHERE user_id = '$user'}, $expected, $test);
}

sql(q{SELECT count(*) FROM skene_apply($$ {
	"features": { "sheet": { "limit": { "free": 0, "pro": 50 }, "period": "30d",
		"prompt": { "sequence": [ { "after": "0" }, { "after": "2d" }, { "after": "6d" } ] } } },
	"settings": { "unsubscribeUrl": "https://acme.test/stop" } } $$)});
for my $user (qw(slow quit paid))
{
	sql("SELECT skene_identify('$user', '$user\@example.com')");
	sql("SELECT skene_consume('$user', 'sheet')");
	captured($user, '1 captured, 2 pending, 3 pending', "$user: the first message at once");
}
is(sql('SELECT pending, scheduled FROM skene_status()'), '0|6', 'the others are not yet due');
travel('47h');
sql(q{SELECT skene_unsubscribe((SELECT substring(text FROM 'token=([0-9a-f]+)') FROM skene.mailbox
	WHERE user_id = 'quit' AND step = 1))});
sql(q{SELECT skene_set_plan('paid', 'pro')});
captured('slow', '1 captured, 2 pending, 3 pending', 'an hour before its time the second one waits');
travel('49h');
captured('slow', '1 captured, 2 captured, 3 pending', 'then it goes');
captured('quit', '1 captured, 2 cancelled, 3 pending', 'not to who has unsubscribed');
captured('paid', '1 captured, 2 cancelled, 3 pending', 'nor to who has paid');
travel('145h');
captured('slow', '1 captured, 2 captured, 3 captured', 'and the third');
captured($_, '1 captured, 2 cancelled, 3 cancelled', "$_: no more") for qw(quit paid);
is(sql('SELECT pending, scheduled FROM skene_status()'), '0|0', 'nothing is left');
is(sql(q{SELECT emails FROM skene.funnel WHERE feature = 'sheet'}), '3', 'the funnel counts prompts');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/token/, 'no token is in the log');

done_testing();
