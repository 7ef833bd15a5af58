# From nothing to a message and back: with a local key, and with a real OpenBao behind a proxy
# that counts.  The tests that follow cover each part in detail.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::OpenBao;
use Chatcrypt::Test qw(keys_of wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $body = 'Lunch at noon? ' . 'x' x 40;

# Makes a chat with one message in it; gives its id.
sub chat_with_message
{
	my ($node) = @_;
	my $chat = $node->safe_psql('postgres', 'SELECT chatcrypt.create_chat()');
	$node->safe_psql('postgres',
		"INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES ('$chat', 'alice', '$body')");
	return $chat;
}

sub body_of
{
	my ($node, $chat) = @_;
	return $node->safe_psql('postgres', "SELECT body FROM chatcrypt.messages WHERE chat_id = '$chat'");
}

sub workers
{
	my ($node) = @_;
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	return grep { /chatcrypt KMS worker/ } `ps -o args= --ppid $postmaster`;
}

# A local key.
my $node = Chatcrypt::Test->start('local', conf => "log_statement = none\n");
is(scalar workers($node), 1, 'the KMS worker runs');
my $chat = chat_with_message($node);
is(body_of($node, $chat), $body, 'a message comes back');
is($node->safe_psql('postgres', "SELECT kms_key, state FROM chatcrypt.dek WHERE chat_id = '$chat'"),
	'local:main|active', 'the chat of a message has a wrapped key');
$node->safe_psql('postgres', 'CHECKPOINT');
my $found = system('grep', '-rq', $body, $node->data_dir) >> 8;
is($found, 1, 'the text of a message is in no file of the server');
$found = system('grep', '-rq', $chat, $node->data_dir . '/postgresql.conf') >> 8;
is($found, 1, 'grep finds no chat id in postgresql.conf');
$node->restart;
is(body_of($node, $chat), $body, 'a message comes back after a restart, which empties the cache');

# Another key of the same name opens nothing.
my $key_file = keys_of($node) . '/main.key';
rename $key_file, "$key_file.kept" or die "$key_file: $!";
Chatcrypt::Test::make_key(keys_of($node), 'main');
$node->restart;
my ($status, undef, $error) =
  $node->psql('postgres', "SELECT body FROM chatcrypt.messages WHERE chat_id = '$chat'");
isnt($status, 0, 'another key does not open the message');
unlike($error, qr/Lunch/, 'the error under another key does not show the message');
rename "$key_file.kept", $key_file or die "$key_file: $!";
$node->restart;
is(body_of($node, $chat), $body, 'the right key opens the message');
$node->stop;

# Without shared_preload_libraries, loading is an error that ends the session, so that nothing
# goes on unprotected.
$node->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$node->start;
($status, undef, $error) = $node->psql('postgres', "LOAD 'chatcrypt'");
is($status, 2, 'a session that loads a library that is not preloaded ends');
like($error, qr/FATAL:  chatcrypt must be loaded through shared_preload_libraries/,
	'the error says that chatcrypt must be preloaded');
$node->stop;

# OpenBao.
SKIP:
{
	if (!defined Chatcrypt::OpenBao::program())
	{
		die "OpenBao is missing, and CI must have it\n" if ($ENV{CI} // '') eq 'true';
		skip 'neither BAO nor PATH has an OpenBao or Vault', 5;
	}
	my $bao = Chatcrypt::OpenBao->start;
	my $proxy = Chatcrypt::FaultProxy->start($bao);

	$node = Chatcrypt::Test->start('vault', bao => $bao, proxy => $proxy);
	$chat = chat_with_message($node);
	is(body_of($node, $chat), $body, 'with OpenBao, a message comes back');
	like($node->safe_psql('postgres',
			"SELECT convert_from(encrypted_dek, 'UTF8') FROM chatcrypt.dek WHERE chat_id = '$chat'"),
		qr/^vault:v1:/, 'with OpenBao, the data key of a chat is wrapped by OpenBao');
	$node->restart;
	$proxy->reset;
	is(body_of($node, $chat), $body, 'with OpenBao, a message comes back after a restart');
	is($proxy->requests('/decrypt/'), 1, 'OpenBao is asked once for the key of a cold chat');
	body_of($node, $chat);
	is($proxy->requests('/decrypt/'), 1, 'a new connection does not ask OpenBao again');
	$node->stop;
}

done_testing();
