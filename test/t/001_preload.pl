# Installing: the preload it needs, the schemas it refuses, what it leaves behind
# when it fails, and that nobody but the owner may use what it made.
use strict;
use warnings;

use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $create = 'CREATE EXTENSION skene_gate';

# Everything of ours that a failed or dropped installation could leave behind.
sub left_behind
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, q{
		SELECT 'extension' FROM pg_extension WHERE extname = 'skene_gate'
		UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'skene'
		UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE proname LIKE 'skene%'
		UNION ALL SELECT 'type ' || oid::regtype FROM pg_type WHERE typname LIKE 'skene%'
		UNION ALL SELECT 'trigger ' || evtname FROM pg_event_trigger});
}

# Without the preload ----------------------------------------------------------

my $node = new_server('preload');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
my $error = error_of($node, 'postgres', $create);
like($error, qr/55000: skene_gate must be loaded via shared_preload_libraries/,
	'installation needs the preload');
like($error, qr/HINT: .*: shared_preload_libraries = 'skene_gate'$/m, 'names the line to add');
is(left_behind($node, 'postgres'), '', 'leaves nothing behind');
is(error_of($node, 'postgres', "LOAD 'skene_gate'"), '', 'the library loads all the same');

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'plpgsql'");
$node->restart;
like(error_of($node, 'postgres', $create),
	qr/HINT: .*: shared_preload_libraries = 'plpgsql, skene_gate'$/m,
	'the line keeps what is preloaded already');

# With it ----------------------------------------------------------------------

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'plpgsql, skene_gate'");
$node->restart;
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(planted rolled_back granted open other);

is(error_of($node, 'postgres', $create), '', 'installs without a word');
worker_runs($node, 'postgres', 'the worker runs');
$node->safe_psql('postgres', 'DROP EXTENSION skene_gate');
is(left_behind($node, 'postgres'), '', 'DROP EXTENSION leaves nothing behind');
workers_are($node, '', 'and no worker');
$node->safe_psql('postgres', "$create; DROP EXTENSION skene_gate; $create");
worker_runs($node, 'postgres', 'dropped and created again in one go');

like(error_of($node, 'planted', "$create SCHEMA skene"), qr/3F000/, 'SCHEMA skene without the schema');
$node->safe_psql('planted', 'CREATE SCHEMA skene');
like(error_of($node, 'planted', "$create SCHEMA skene"),
	qr/3F000: the functions of skene_gate cannot be installed into schema "skene"/,
	'SCHEMA skene is refused');
like(error_of($node, 'planted', $create), qr/42P06: schema "skene" exists already/,
	'a schema that is in the way is refused');
$node->safe_psql('planted', 'DROP SCHEMA skene; CREATE SCHEMA app');
is(error_of($node, 'planted', "$create SCHEMA app"), '', 'another schema will do');
is( $node->safe_psql('planted', "SELECT worker IS NOT NULL FROM app.skene_status()"),
	't', 'and the functions are there');
$node->safe_psql('planted', 'DROP EXTENSION skene_gate');

$node->safe_psql('open', 'GRANT CREATE ON SCHEMA public TO PUBLIC');
like(error_of($node, 'open', $create), qr/WARNING: .*PUBLIC may create objects in schema "public"/,
	'warns of a schema that is open to PUBLIC');

$node->safe_psql('postgres',
	"CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
like(error_of($node, 'ascii', $create), qr/0A000: skene_gate needs a database with encoding UTF8/,
	'an encoding other than UTF8 is refused');
is(left_behind($node, 'ascii'), '', 'a refusal leaves nothing behind');

# the worker of another database shows that the launcher has looked since
$node->safe_psql('rolled_back', "BEGIN; $create; ROLLBACK");
is(left_behind($node, 'rolled_back'), '', 'ROLLBACK leaves nothing behind');
$node->safe_psql('other', $create);
worker_runs($node, 'other', 'another database gets its worker');
workers_are($node, 'open other postgres', 'a rolled back installation starts no worker');

# Privileges -------------------------------------------------------------------

$node->safe_psql('granted', q{
	CREATE ROLE "No$y role";
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO "No$y role";
	ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO "No$y role";
	ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO "No$y role";
	ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO "No$y role";
	ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC});
$node->safe_psql('granted', $create);
my $members = q{
	SELECT classid, objid FROM pg_depend
	 WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
	   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'skene_gate')};
for my $role ('"No$y role"', 'PUBLIC')
{
	# PUBLIC: what a role has that was granted nothing
	my $name = $role eq 'PUBLIC' ? 'pg_monitor' : 'No$y role';
	is( $node->safe_psql('granted', qq{
		SELECT pg_describe_object(classid, objid, 0) FROM ($members) m
		 WHERE CASE classid
		       WHEN 'pg_proc'::regclass THEN has_function_privilege('$name', objid, 'EXECUTE')
		       WHEN 'pg_namespace'::regclass THEN has_schema_privilege('$name', objid, 'USAGE, CREATE')
		       WHEN 'pg_class'::regclass THEN
		           CASE (SELECT relkind FROM pg_class WHERE oid = objid)
		           WHEN 'S' THEN has_sequence_privilege('$name', objid, 'USAGE, SELECT, UPDATE')
		           ELSE has_table_privilege('$name', objid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
		                OR has_any_column_privilege('$name', objid, 'SELECT, INSERT, UPDATE, REFERENCES') END
		       END}),
		'', "$role may use nothing");
}
cmp_ok($node->safe_psql('granted', "SELECT count(*) FROM ($members) m"),
	'>', 100, 'of all that was installed');

# A server that lost its preload -------------------------------------------------

$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
for my $call (
	q{skene_consume('u1', 'export')},   q{skene_decide('u1', 'export')},
	q{skene_require('u1', 'export')},   q{skene_refund('u1', 'export')},
	q{skene_check('u1', 'export')},     q{skene_allows('u1', 'export')},
	q{skene_usage('u1')},               q{skene_identify('u1', 'ada@example.com')},
	q{skene_consume_request('u1', 'GET', '/')}, q{skene_status()}, q{skene_resume()},
	q{skene_stripe_webhook('{}'::text, 't=1,v1=00')},
	q{skene_apply('{"features": {"export": {"limit": {"free": 1}, "period": "30d"}}}')})
{
	like(error_of($node, 'other', "SELECT * FROM $call"), qr/55000: .*HINT: .*'skene_gate'/s,
		"without shared memory: $call");
}
is(error_of($node, 'other', 'DROP EXTENSION skene_gate'), '', 'it can still be dropped');

done_testing();
