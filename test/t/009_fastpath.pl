# Calls through the protocol's fast path, which names a function by its oid and comes
# with no expression to ask for the types of its arguments.
use strict;
use warnings;

use IO::Socket::UNIX;
use SkeneGate;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('fastpath');
$node->start;
install($node);
$node->safe_psql('postgres', q{
	CREATE ROLE webapp LOGIN;
	SELECT skene_grant_role('webapp', 'app')});

my $socket = IO::Socket::UNIX->new($node->host . '/.s.PGSQL.' . $node->port)
  or BAIL_OUT("connect: $!");

# The next message from the server, of the given type; stops at an error.
sub receive
{
	my ($wanted) = @_;
	for (;;)
	{
		read($socket, my $header, 5) == 5 or return 'connection closed';
		my ($type, $length) = unpack 'a N', $header;
		read $socket, my $body, $length - 4;
		return $type eq 'E' ? "error $body" : $body if $type eq $wanted || $type eq 'E';
	}
}

# Call a function with arguments in binary form; its result in binary form.
sub call
{
	my ($function, @arguments) = @_;
	my $oid = $node->safe_psql('postgres', "SELECT '$function'::regprocedure::oid");
	my $body = pack('N n n n', $oid, 1, 1, scalar @arguments)
	  . join('', map { pack('N/a', $_) } @arguments) . pack('n', 1);
	print $socket 'F', pack('N', length($body) + 4), $body;
	$socket->flush;
	my $result = receive('V');
	receive('Z') if $result ne 'connection closed';
	return $result;
}

my $startup = pack('N', 3 << 16) . "user\0webapp\0database\0postgres\0\0";
print $socket pack('N', length($startup) + 4), $startup;
$socket->flush;
receive('Z');

my ($true, $one) = (pack('N/a', "\1"), pack('q>', 1));
my $uuid = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
is(call('skene_consume(bigint,text,bigint,text)', pack('q>', 42), 'export', $one, 'key'),
	$true, 'an id that is a bigint');
is( call('skene_consume(uuid,text,bigint,text)', pack('H*', $uuid =~ tr/-//dr), 'export', $one, 'key'),
	$true, 'an id that is a uuid');
is(call('skene_consume(text,text,bigint,text)', 'u1', 'export', $one, 'key'), $true, 'text');
is( $node->safe_psql('postgres', q{
		SELECT string_agg(user_id, ' ' ORDER BY user_id) FROM skene.usage_totals WHERE used = 1}),
	"42 $uuid u1", 'are counted as in SQL');

done_testing();
