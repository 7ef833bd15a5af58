
# No id needs a cast with drivers of node, which leave the types of parameters to the server.  The
# examples of the README in Python and for Node.js run unchanged.
use strict;
use warnings;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my ($found) = run_command([ 'node', '-e', 'require("pg"); require("postgres"); console.log("found")' ]);
if ($found ne 'found' || !-x ($ENV{CLIENT_PYTHON} // ''))
{
	die "node, python and their drivers are missing, and CI must have them" if ($ENV{CI} // '') eq 'true';
	plan(skip_all => 'no node and python with the drivers of test/clients: NODE_PATH and CLIENT_PYTHON name them');
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

# The examples of the README, as a role that must name an actor.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN;
GRANT chatcrypt_writer, chatcrypt_reader TO app;
ALTER ROLE app SET chatcrypt.require_actor = on;
SQL
my $readme = slurp_file('README.md');
my %example = (
	python => [ $ENV{CLIENT_PYTHON}, '-c', $readme =~ /^```python\n(.*?)^```/ms ],
	js => [ 'node', '-e', $readme =~ /^```js\n(.*?)^```/ms ]);
foreach my $language (sort keys %example)
{
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port);
	my ($said, $complaint) = run_command($example{$language});
	is($complaint, '', "the example in $language of README.md has no error");
	is($said, 'alice Lunch at noon?', "the example in $language of README.md prints the message");
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM chatcrypt.messages WHERE body = 'Lunch at noon?'}), '2',
	'each of the examples has stored its message');

done_testing();
