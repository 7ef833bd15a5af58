
# No id needs a cast with drivers of node, which leave the types of parameters to the server.
use strict;
use warnings;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my ($found) = run_command([ 'node', '-e', 'require("pg"); require("postgres"); console.log("found")' ]);
if ($found ne 'found')
{
	die "node and its drivers are missing, and CI must have them" if ($ENV{CI} // '') eq 'true';
	plan(skip_all => 'no node with the drivers of test/clients: NODE_PATH names their folder');
}

my $node = Chatcrypt::Test->start('drivers');
$node->safe_psql('postgres', 'CREATE ROLE service LOGIN; CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION chatcrypt');
$node->safe_psql('postgres', 'GRANT chatcrypt_writer, chatcrypt_reader TO service');

my ($out, $err) = run_command([ 'node', 'test/clients/drivers.js', $node->host, $node->port ]);
is($err, '', 'the drivers run');

my %answer = map { /^(.*?): (.*)$/ ? ($1 => $2) : () } split /\n/, $out;
my %expected = (
	'makes chats' => '2',
	'encrypts by numbers' => 'text',
	'encrypts by numbers in strings' => 'text',
	'encrypts by uuids' => 'text',
	'encrypts by a uuid and a number' => 'text',
	'binds additional data' => 'text',
	'encrypts bytes' => '00ff',
	'puts a message' => 'true',
	'puts a message by name' => 'true',
	'reads a page' => '2',
	'reads a wire message' => 'body',
	'asks what may be seen' => 'true',
	'adds a participant' => 'true',
	'stores a file' => '3',
	'reads a file' => 'file',
	'refuses what is no id' => '22P02 invalid id of a chat, message or file');

foreach my $driver (qw(pg postgres))
{
	is($answer{"$driver $_"}, $expected{$_}, "the driver $driver $_") foreach sort keys %expected;
}
is(scalar(keys %answer), 2 * keys %expected, 'each call of each driver has a test');

done_testing();
