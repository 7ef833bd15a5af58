# A key that is destroyed while the KMS unwraps it stays in no cache.  The KMS worker is stopped, so
# that the order of events is certain.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('evictions', conf => "chatcrypt.kms_timeout = 60s\nchatcrypt.on_decrypt_error = raise\n");
my $entries = 'SELECT entries FROM chatcrypt.cache_status';

sub read_message
{
	my ($number) = @_;
	return "SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid($number)";
}

sub worker { return $node->safe_psql('postgres', 'SELECT pid FROM chatcrypt.kms_worker'); }

sub waits_for_kms
{
	return wait_until(30, sub { ask($node, 'SELECT requests_pending > 0 FROM chatcrypt.kms_worker') eq 't' });
}

foreach my $number (1 .. 3)
{
	$node->safe_psql('postgres', <<"SQL");
SELECT chatcrypt.create_chat($number);
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid($number), 'body $number');
SQL
}
$node->restart;
is(ask($node, $entries), '0', 'all keys are cold');

my $reader = session($node);
my $worker = worker();
kill 'STOP', $worker or die "cannot stop the worker: $!";
start($reader, read_message(1));
ok(waits_for_kms(), 'a session has read the row of its key and waits for the KMS');
is(ask($node, "SELECT chatcrypt.shred_chat(1, 'irreversible')"), '1',
	'a chat is shredded while a session waits for its key');
kill 'CONT', $worker;
is(outcome($reader), 'body 1', 'a session that began to read before the shredding may finish');
is(ask($node, $entries), '0', 'the key of the shredded chat is cached nowhere');
like(answer($reader, read_message(1)), qr/was destroyed/, 'the shredded chat cannot be read again');

# The eviction of another chat's key makes a key lose its place once, and not again.
$reader->quit;
$reader = session($node);
kill 'STOP', $worker or die "cannot stop the worker: $!";
start($reader, read_message(2));
ok(waits_for_kms(), 'a session waits for the key of a chat');
is(ask($node, "SELECT chatcrypt.shred_chat(3, 'irreversible')"), '1',
	'another chat is shredded meanwhile');
kill 'CONT', $worker;
is(outcome($reader), 'body 2', 'the session that waited reads');
is(ask($node, read_message(2)), 'body 2', 'another session reads the same chat');
is(ask($node, $entries), '1', 'the key of that chat is cached');

$reader->quit;
$node->stop;
done_testing();
