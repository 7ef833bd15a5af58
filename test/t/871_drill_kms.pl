# The drills of docs/operations.md about the key service: a key is lost, the service moves, a key or
# a login is compromised.
use strict;
use warnings;
use Chatcrypt::Drill;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $node = Chatcrypt::Test->start('old', bao => $bao, conf => $bao->approle_settings . "chatcrypt.cache_ttl = 4s\n");
my %service = Chatcrypt::Drill::key_service($bao);
my %cluster = (Chatcrypt::Drill::cluster(OLD => $node), DB => 'postgres', %service);

sub readable
{
	my (@chats) = @_;
	return join ' ', grep { ask($node, read_chat($_)) eq "body $_" } @chats;
}

sub all_work
{
	my ($steps, $name) = @_;
	like($steps, qr/unwrap\|t/, $name);
	unlike($steps, qr/\|f\|/, "$name: no step of kms_check() fails");
	return;
}

make_chats($node, 1, 6);
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chat(7); SELECT chatcrypt.shred_chat(7, $$irreversible$$);
	SELECT chatcrypt.set_search(1, $$blind$$), chatcrypt.set_search(4, $$blind$$); CALL chatcrypt.reindex_search(1); CALL chatcrypt.reindex_search(4);
	SELECT chatcrypt.seal_events()');

# How many messages of a chat a search finds, or the error.
sub found
{
	my ($chat, $words) = @_;
	return ask($node, "SELECT count(*) FROM chatcrypt.search($chat, '$words')");
}
is(found(1, 'body'), '1', 'a search finds a message before any drill');

# ---------- a lost key ----------

# The key is soft-deleted, while chats 1 to 3 and the key of the history are in the cache.
my $undo = qr/RESET chatcrypt.cache_ttl/;
my %lost = (%cluster, LOST => 'vault:transit/chat', NEWKEY => 'chat2', NEWURI => 'vault:transit/chat2');

sub lose
{
	my (@how) = @_;
	$node->restart;
	is(readable(1 .. 3), '1 2 3', 'lost key: cached chats are read before the loss');
	$bao->cli(@how);
	return Chatcrypt::Drill->new('Lost KMS key', %lost);
}

my $drill = lose('delete', 'transit/keys/chat/soft-delete');
$drill->run(qr/cache_ttl = '30d'/);
sleep 6;
is(readable(1 .. 6), '1 2 3', 'lost key: cached chats are read for longer than cache_ttl');
like(failure($node, read_chat(4)), qr/soft-deleted key.*Bring the key back at its key service/,
	'lost key: the error says what to do');
like($drill->run(qr/verify_keys/), qr/^6\|8\nnot checked\|refusing to use soft-deleted key\|8$/,
	'lost key: verify_keys() says how much is lost and why');
like($drill->run(qr/bao read/), qr/soft_deleted +true/,
	'lost key: the key service still has the soft-deleted key');
$drill->run(qr/soft-delete-restore/);
is($drill->run(qr/verify_keys/), '', 'lost key: all data keys open after the key is restored');
$drill->run($undo);
is(readable(1 .. 6), '1 2 3 4 5 6', 'lost key: every chat is read after the key is restored');

# The key is deleted for good.
$bao->cli('write', 'transit/keys/chat/config', 'deletion_allowed=true');
$node->restart;
ask($node, 'SELECT * FROM chatcrypt.verify_events()');
is(readable(1 .. 3), '1 2 3', 'deleted key: cached chats are read before the loss');
$bao->cli('delete', 'transit/keys/chat');
$drill = Chatcrypt::Drill->new('Lost KMS key', %lost);
$drill->run(qr/cache_ttl = '30d'/);
sleep 6;
is(readable(1 .. 6), '1 2 3', 'deleted key: cached chats are read after the loss');
like($drill->run(qr/verify_keys/), qr/\|the key check of vault:transit\/chat: status 404: [^|]*\|8$/,
	'deleted key: the error says that the key does not exist');
like($drill->run(qr/bao read/), qr/No value found/,
	'deleted key: the key service does not show it');
$drill->pass_over(qr/soft-delete-restore/);
$drill->pass_over(qr/verify_keys/);
$drill->pass_over($undo);
$drill->run(qr/policy write/);
like($drill->run(qr/move_event_key/), qr/^(?!.*\|f\|).*\nt$/s,
	'deleted key: the new key works and seals the history');
like($drill->run(qr/rotate_chat/), qr/^6\n(?:.*\n)*3\|0\|3$/,
	'deleted key: every chat gets a new data key, and cached data keys are moved');
like(found(1, 'body'), qr/could not unwrap/, 'deleted key: the search key of a chat is lost');
$drill->run(qr/reindex_search/);
is(ask($node, q{INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(104), chatcrypt.to_uuid(4), 'new') RETURNING body}),
	'new', 'deleted key: a chat whose messages are lost accepts new ones');
is(found(1, 'body'), '1', 'deleted key: the new search index finds a message that was not lost');
like($drill->run(qr/lost_messages AS/), qr/^00000000-0000-8000-8000-000000000004\|1\|.*000000000005\|1\|.*000000000006\|1\|[^\n]*$/s,
	'deleted key: the lost messages are listed');
$drill->run(qr/DELETE FROM chatcrypt.messages/);
is(found(4, 'new') . found(4, 'body'), '10',
	'deleted key: a chat that has lost messages can be searched');
$drill->pass_over(qr/event_seal.lost/);
$drill->pass_over(qr/DELETE FROM chatcrypt.event_chain/);
$drill->finish;
Chatcrypt::Drill->new('Lost KMS key', %lost)->run_later($undo);
$node->restart;
is(readable(1 .. 3), '1 2 3',
	'deleted key: chats whose data keys were moved are read after a restart');
is(ask($node, 'SELECT count(body) FROM chatcrypt.messages'), '4',
	'deleted key: no other message is left');
is(ask($node, 'SELECT count(*) FROM chatcrypt.verify_events()'), '0',
	'deleted key: the history verifies');

# The same where the key of the history was not in the cache.
$bao->cli('write', 'transit/keys/chat2/config', 'deletion_allowed=true');
$bao->cli('delete', 'transit/keys/chat2');
$node->restart;
%lost = (%lost, LOST => 'vault:transit/chat2', KEY => 'chat2', NEWKEY => 'chat3', NEWURI => 'vault:transit/chat3');
$drill = Chatcrypt::Drill->new('Lost KMS key', %lost);
$drill->run_later(qr/policy write/);
$drill->refuse(qr/move_event_key/, qr/could not unwrap the key of the event chain/);
like($drill->run(qr/rotate_chat/), qr/^6\n(?:.*\n)*0\|0\|4$/,
	'lost history key: no data key can be moved');
$drill->run(qr/reindex_search/);
$drill->run_later(qr/event_seal.lost/);
is($drill->run(qr/DELETE FROM chatcrypt.event_chain/), 't',
	'lost history key: a new chain is begun, and has all events');
$drill->finish;
ok(-s "$drill->{variables}{WORK}/event_seal.lost", 'lost history key: the old seals are kept');
is(ask($node, q{SELECT count(*) FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(1)}), '1',
	'lost history key: the rows of lost messages are still there');

# ---------- the key service moves ----------

$node->safe_psql('postgres', 'DELETE FROM chatcrypt.messages');
make_chats($node, 11, 16);
$node->safe_psql('postgres', 'SELECT chatcrypt.set_search(11, $$blind$$); CALL chatcrypt.reindex_search(11)');
$node->safe_psql('postgres', 'SELECT chatcrypt.shred_chat(g, $$irreversible$$) FROM generate_series(1::bigint, 6) AS g');
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $second = Chatcrypt::OpenBao->start;
my %moved = (%cluster, NEWADDR => $proxy->address, NEWCA => $proxy->ca_file, FROM_URI => 'vault:transit/chat3', TO_URI => $bao->add_key('chat4'),
	KEYS => keys_of($node));
$bao->set_policy('chat3', 'chat4');
$drill = Chatcrypt::Drill->new('The key service moved', %moved);
$drill->pass_over(qr/raft snapshot/);
$proxy->reset;
all_work($drill->run(qr/vault_addr/),
	'moved service: unwrapping works at another address of the same service');
cmp_ok($proxy->requests('decrypt'), '>', 0, 'moved service: the new address is used');
like($drill->run(qr/move_kms_key\(:'from', :'to'\)/), qr/^(?!.*\|f\|).*\n\d+\|0\nt\nvault:transit\/chat4\|1\|\d+\|\d+$/s,
	'moved service: all data keys and the seals move to another key');
is(readable(11 .. 16), '11 12 13 14 15 16',
	'moved service: every message is read under the other key');

$drill->{variables}{FROM_URI} = 'vault:transit/chat4';
$drill->{variables}{TO_URI} = 'vault:transit/chat';
@{ $drill->{variables} }{qw(NEWADDR NEWCA NEWTOKEN)} = ($second->address, $second->ca_file, $second->token_file);
$drill->run(qr/moving.key/);
like($drill->run(qr/local:moving/), qr/^\d+\|0\nt\nlocal:moving\|\d+$/,
	'moved service: every data key is under the key file');
$node->safe_psql('postgres', "ALTER SYSTEM SET $_ = ''") foreach qw(chatcrypt.vault_role_id_file chatcrypt.vault_secret_id_file);
my $said = $drill->run(qr/vault_token_file/);
all_work($said, 'moved service: unwrapping works at the new key service');
like($said, qr/\n\d+\|0\nt\nvault:transit\/chat\|\d+$/,
	'moved service: every data key is at the new service, and opens');
$drill->run(qr/shred -u/);
$drill->finish;
$bao->stop;
$node->restart;
is(readable(11 .. 16), '11 12 13 14 15 16',
	'moved service: every message is read without the old key service');
is(ask($node, 'SELECT count(*) FROM chatcrypt.verify_events()'), '0',
	'moved service: the history verifies without the old key service');

# By a snapshot, to a server that had keys of its own until then.
my ($from, $to) = (Chatcrypt::OpenBao->start_raft, Chatcrypt::OpenBao->start_raft(empty => 1));
my $other = Chatcrypt::Test->start('other', bao => $from);
make_chats($other, 1, 3);
$drill = Chatcrypt::Drill->new('The key service moved', Chatcrypt::Drill::cluster(OLD => $other), DB => 'postgres', Chatcrypt::Drill::key_service($from),
	NEWADDR => $to->address, NEWCA => $to->ca_file, NEW_BAO_TOKEN => $to->{root_token});
$drill->run(qr/raft snapshot/);
$from->stop;
$to->{unseal_key} = $from->{unseal_key};
ok(wait_until(20, sub { ($to->try_cli('status'))[0] == 2 }),
	'snapshot: the new server must be unsealed');
$to->unseal;
ok(wait_until(20, sub { $to->{root_token} = $from->{root_token}; ($to->try_cli('secrets', 'list'))[0] == 0 }),
	'snapshot: the unseal key of the old server unseals the new one');
all_work($drill->run(qr/vault_addr/), 'snapshot: unwrapping works at the new server');
$other->restart;
is(count_read($other, 1 .. 3), '3', 'snapshot: every message is read');
$other->stop;
$to->stop;

# ---------- a key and a login are compromised ----------

$node->safe_psql('postgres', "ALTER SYSTEM RESET $_") foreach qw(chatcrypt.vault_role_id_file chatcrypt.vault_secret_id_file chatcrypt.vault_token_file);
set($node, 'chatcrypt.vault_token_file' => '', 'chatcrypt.vault_role_id_file' => $second->role_id_file, 'chatcrypt.vault_secret_id_file' => $second->secret_id_file);
is(readable(11), '11', 'compromised login: a chat is read with a secret id before the drill');
my $stolen = slurp_file($second->secret_id_file);
my $role = slurp_file($second->role_id_file);
my @login = ('write', '-field=token', 'auth/approle/login', "role_id=$role", "secret_id=$stolen");
my $token = $second->cli(@login);
ok($token, 'compromised login: the stolen secret id logs in');
$node->safe_psql('postgres', 'UPDATE chatcrypt.chat SET external_envelopes = false');
%service = Chatcrypt::Drill::key_service($second);
$drill = Chatcrypt::Drill->new('Compromised key or login', %cluster, %service, SECRET_ID_FILE => $second->secret_id_file, NEWVERSION => 2);
$drill->run(qr/secret-id-accessor/);
all_work($drill->run(qr/kms_check/), 'compromised login: the server logs in anew');
isnt(($second->try_cli(@login))[0], 0,
	'compromised login: the stolen secret id cannot log in any more');
isnt(($second->try_cli('token', 'lookup', $token))[0], 0,
	'compromised login: the token of the thief is revoked');
$drill->run(qr/rotate"/);
like($drill->run(qr/rewrap/), qr/^\d+\|0\nt\nvault:transit\/chat\|2$/,
	'compromised key: every data key is under the new version');
$drill->run(qr/min_decryption_version/);
my $before = ask($node, q{SELECT count(*) FROM chatcrypt.dek WHERE state = 'active' AND purpose = 'data'});
like($drill->run(qr/rotate_due/), qr/^$before\|0\n6\|0\|0\n$before\|0\|0\n0$/,
	'compromised key: every chat has a new data key, every message is under it, and no old one is left');
my $tokens = 'SELECT md5(string_agg(t::text, $$|$$ ORDER BY t::text)), count(*) > 0 FROM chatcrypt.search_token AS t';
my $old_tokens = ask($node, $tokens);
$drill->run(qr/reindex_search/);
isnt(ask($node, $tokens), $old_tokens, 'compromised key: search tokens are different');
is(found(11, 'body'), '1', 'compromised key: the new search tokens find the same message');
$drill->finish;
$node->restart;
is(readable(11 .. 16), '11 12 13 14 15 16', 'compromised key: every message is read');

$node->stop;
$second->stop;
done_testing();
