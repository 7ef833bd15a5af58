# INSTEAD OF triggers lose updates (four sessions that count to 100 each came to 114).  Ours
# fails with 40001 instead, which pgbench retries as any application would.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('increments', conf => "log_statement = none\nlog_min_messages = panic\n");
my $folder = PostgreSQL::Test::Utils::tempdir();
my $body = 'SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.id(1)';

$node->safe_psql('postgres', q{SELECT chatcrypt.create_chat(1);
	INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.id(1), chatcrypt.id(1), '0')});
# A pause between reading and writing, so that sessions do meet, whatever the machine is busy with.
append_to_file("$folder/add.sql",
	"UPDATE chatcrypt.messages SET body = (body::integer + 1 + length(pg_sleep(0.001)::text))::text WHERE message_id = chatcrypt.id(1);\n");

sub count_together
{
	my ($isolation, @options) = @_;
	local $ENV{PGOPTIONS} = "-c default_transaction_isolation=$isolation";
	my ($out, $err) = run_command([ 'pgbench', '-n', '-M', 'prepared', '-c', '4', '-t', '100', '-f', "$folder/add.sql", @options,
		$node->connstr('postgres') ]);
	return "$out\n$err";
}

foreach my $isolation ('read\ committed', 'repeatable\ read', 'serializable')
{
	$node->safe_psql('postgres', q{UPDATE chatcrypt.messages SET body = '0' WHERE message_id = chatcrypt.id(1)});
	my $said = count_together($isolation, '--max-tries', '100000');
	like($said, qr{number of transactions actually processed: 400/400}, "$isolation: every session counted to 100") or diag($said);
	is(ask($node, $body), '400', "$isolation: and no increment was lost");
	unlike($said, qr/number of transactions retried: 0 /, "$isolation: though they were in each other's way");
}

# Without retrying, what fails is exactly what is missing.
$node->safe_psql('postgres', q{UPDATE chatcrypt.messages SET body = '0' WHERE message_id = chatcrypt.id(1)});
my $said = count_together('read\ committed', '--failures-detailed');
my ($done) = $said =~ m{actually processed: (\d+)/400};
my ($failed) = $said =~ m{number of serialization failures: (\d+)};
is(ask($node, $body), $done, 'every increment that was reported done is there');
is($done + $failed, 400, 'and every other was reported as a serialization failure');
cmp_ok($failed, '>', 0, 'of which there were some');

$node->stop;
done_testing();
