# Dump, restore, clone and publish: every row survives, a copy sends nothing until
# somebody says that it is the one to send, and a publication breaks nothing.
use strict;
use warnings;

use SkeneCopy;
use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

start_resend();
my $node = new_server('dump', allows_streaming => 'logical');
use_resend($node);
$node->append_conf('postgresql.conf', "skene_gate.delivery = 'off'");
# what is counted here stays unfolded, so that both tables have rows
$node->append_conf('postgresql.conf', "skene_gate.fold_interval = '1h'");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE source');
install($node, 'source');

# Something in every table -------------------------------------------------------------

fill_tables($node, 'source');
my $rows = rows_of($node, 'source');
unlike($rows, qr/\|0\|/, 'no table is empty');
is( $node->safe_psql('source', q{SELECT EXISTS (SELECT FROM skene.usage) AND EXISTS (SELECT FROM skene.usage_events)}),
	't', 'of usage some is folded and some is not');

# Dump and restore, by an owner who is no superuser ----------------------------------------

$node->safe_psql('source', 'CREATE ROLE keeper LOGIN; ALTER DATABASE source OWNER TO keeper');
my $dump = $node->basedir . '/source.dump';
my @dump = ('pg_dump', '--format=custom', "--file=$dump", $node->connstr('source') . ' user=keeper');
command_fails_like(\@dump, qr/permission denied|lack SELECT privilege/, 'pg_dump needs rights');
$node->safe_psql('source', q{
	CREATE ROLE webapp;
	SELECT skene_grant_role('webapp', 'app'), skene_grant_role('keeper', 'backup')});
$node->command_ok(\@dump, 'the kind backup has them');

$node->safe_psql('postgres', q{CREATE DATABASE restored;
	ALTER DATABASE restored SET skene_gate.delivery = 'on';
	ALTER DATABASE restored SET skene_gate.fold_interval = '10ms'});
$node->command_ok([ 'pg_restore', '--exit-on-error', '--jobs=2', '-d', $node->connstr('restored'), $dump ],
	'pg_restore, with delivery on');
settle($node, 'restored');
is(rows_of($node, 'restored'), $rows, 'every row of every table is back');
is(sequences_of($node, 'restored'), sequences_of($node, 'source'), 'sequences go on where they were');
is( $node->safe_psql('restored', q{
		SELECT string_agg(subject, ', ' ORDER BY builtin) FROM skene.templates
		 WHERE template = 'upgrade_prompt'}),
	'Our own, You have reached your {{feature}} limit', 'so do templates, ours and the built-in one');
worker_runs($node, 'restored', 'a worker runs there');
is_fenced($node, 'restored', 'a restored database is fenced');
is(rows_of($node, 'source'), $rows, 'the source is as it was');
is( $node->safe_psql('restored', q{
		SET ROLE webapp; SELECT skene_consume('granted', 'export')}),
	't', 'roles have the rights they had');
like(error_of($node, 'restored', 'SET ROLE webapp; SELECT * FROM skene.customers'),
	qr/42501/, 'and no more');

$node->safe_psql('restored', 'SELECT skene_resume()');
comes_to_be($node, 'restored', "restored_$_", 'sent', 'resumed: its own message is sent') for 1, 2;
# while a dump is restored, a message may be there before its customer's plan
$node->safe_psql('restored', q{UPDATE skene.prompts SET plan = 'other' WHERE user_id = 'waiting'});
enqueue($node, 'restored', 'new');
comes_to_be($node, 'restored', 'new', 'sent', 'so is a new one');
is(state_of($node, 'restored', 'waiting'), 'held', 'one of the source is held, not cancelled');
$node->safe_psql('restored', q{UPDATE skene.prompts SET plan = 'free' WHERE user_id = 'waiting'});
$node->safe_psql('restored',
	q{SELECT skene_retry(outbox_id) FROM skene.outbox WHERE user_id = 'waiting'});
comes_to_be($node, 'restored', 'waiting', 'sent', 'unless retried');
is($node->safe_psql('restored', 'SELECT fenced, pending FROM skene_status()'), 'f|0', 'no fence is left');

# Clone, and a dump that brings delivery = on ------------------------------------------------

$node->safe_psql('postgres', q{CREATE DATABASE clone TEMPLATE source});
$node->safe_psql('postgres', q{ALTER DATABASE clone SET skene_gate.delivery = 'on'});
worker_runs($node, 'clone', 'a clone has a worker');
is_fenced($node, 'clone', 'and is fenced');
$node->safe_psql('clone', 'SELECT skene_resume()');
comes_to_be($node, 'clone', 'clone_1', 'sent', 'until it is resumed');

$node->safe_psql('source', 'SELECT skene_pause()');
$node->safe_psql('postgres', q{ALTER DATABASE source SET skene_gate.delivery = 'on'});
my $script = $node->basedir . '/source.sql';
$node->command_ok([ 'pg_dump', '--create', "--file=$script", $node->connstr('source') ], 'pg_dump --create');
$node->safe_psql('postgres', 'ALTER DATABASE source RENAME TO original');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $script, $node->connstr('postgres') ],
	'restored beside it');
$node->safe_psql('source', 'DELETE FROM skene.pauses');
worker_runs($node, 'source', 'a worker runs there');
is_fenced($node, 'source', 'fenced, though the dump says delivery = on');
is($node->safe_psql('original', 'SELECT fenced FROM skene_status()'), 'f', 'the original is not');
$node->safe_psql('original', 'SELECT skene_resume()');
comes_to_be($node, 'original', 'waiting', 'sent', 'and sends');

# A publication of all tables -------------------------------------------------------------------

$node->safe_psql('original', q{
	CREATE PUBLICATION everything FOR ALL TABLES;
	DO $$
	DECLARE
	    changed record;
	BEGIN
	    FOR changed IN
	        SELECT a.attrelid::regclass AS relation, min(a.attname) AS attribute
	          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	         WHERE c.relnamespace = 'skene'::regnamespace AND c.relkind = 'r'
	           AND a.attnum > 0 AND a.attidentity = ''
	         GROUP BY a.attrelid
	    LOOP
	        EXECUTE format('UPDATE %s SET %2$I = %2$I', changed.relation, changed.attribute);
	    END LOOP;
	END $$});
pass('every table can be updated under a publication of all tables');
enqueue($node, 'original', 'published');
comes_to_be($node, 'original', 'published', 'sent', 'prompts are written and sent');
# a dump of it brings the publication along
$dump = $node->basedir . '/published.dump';
$node->command_ok([ 'pg_dump', '--format=custom', "--file=$dump", $node->connstr('original') ],
	'pg_dump of a database with the publication');
$node->safe_psql('postgres', q{CREATE DATABASE republished;
	ALTER DATABASE republished SET skene_gate.delivery = 'on'});
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('republished'), $dump ],
	'pg_restore');
is($node->safe_psql('republished', 'SELECT pubname FROM pg_publication'),
	'everything', 'it is there');
is(rows_of($node, 'republished'), rows_of($node, 'original'), 'so is every row');
worker_runs($node, 'republished', 'a worker runs there');
$node->safe_psql('republished', 'SELECT skene_resume()');
enqueue($node, 'republished', 'again');
comes_to_be($node, 'republished', 'again', 'sent', 'and sends, once resumed');

is( $node->safe_psql('original', q{
		SELECT skene_refund('published', 'export');
		SELECT skene_set_plan('paid', NULL);
		SELECT count(*) FROM skene_apply('{"plans": {"free": {"default": true}}}', prune => true)
		 WHERE object = 'plan' AND action = 'remove';
		INSERT INTO skene.instance VALUES (1, 1);
		SELECT skene_resume()}),
	"0\n\n1\n", 'usage, plans, configuration and fence change');

# old keys go when the worker looks for them, which it does at its start
$node->safe_psql('original', q{
	UPDATE skene.idempotency_keys SET created_at = created_at - interval '1 year'});
$node->restart;
ok($node->poll_query_until('original', 'SELECT count(*) = 0 FROM skene.idempotency_keys'),
	'old idempotency keys are removed');

done_testing();
