# What sessions and the cluster remember of keys, and when they forget it.  While the master keys
# are out of reach, only what is remembered still works.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('caches', conf => "max_prepared_transactions = 5\nchatcrypt.on_decrypt_error = raise\n");
my $away = qr/could not unwrap the data key of chat .* version \d/;

# A chat with one message, whose id is the id of the chat.
sub new_chat
{
	my ($number) = @_;
	$node->safe_psql('postgres', <<"SQL");
SELECT chatcrypt.create_chat($number);
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid($number), chatcrypt.to_uuid($number), 'body $number');
SQL
	return;
}

sub read_message
{
	my ($number) = @_;
	return "SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid($number)";
}

my $gone = qr/ERROR:  the data key of chat .* version 1 was destroyed/;

# Warm chats work without a KMS, also in new connections; cold chats raise an error.
new_chat($_) foreach 1 .. 3;
$node->restart;
is(ask($node, read_message(1)), 'body 1', 'a cold chat asks the KMS');
hide_keys($node);
is(ask($node, read_message(1)), 'body 1', 'a new connection finds a key in the shared cache');
is(ask($node, 'SELECT chatcrypt.decrypt(1, 7, chatcrypt.encrypt(1, 7, $$x$$))'), 'x',
	'a new connection seals with a key in the shared cache');
like(ask($node, read_message(2)), $away, 'a cold chat does not open without the KMS');
like(ask($node, 'SELECT chatcrypt.create_chat(4)'), qr/could not make the data key of chat/,
	'no chat can be made without the KMS');
is(ask($node, 'SELECT count(*) FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(4)'), '0',
	'a chat that could not be made leaves no row behind');

# New chats flush no key of other chats.
my $steady = session($node);
is(answer($steady, read_message(1)), 'body 1',
	'a session reads a message before thousands of chats are made');
show_keys($node);
my $evictions = 'SELECT evictions, misses FROM chatcrypt.cache_status';
my $calls = 'SELECT calls FROM chatcrypt.kms_status';
my $evictions_before = ask($node, $evictions);
is(ask($node, 'SELECT chatcrypt.create_chats(array_agg(g)) FROM generate_series(100001::bigint, 103000) AS g'),
	'3000', '3000 chats are made');
my $sealed = ask($node, 'SELECT chatcrypt.encrypt(100001, 1, $$one of many$$)');
hide_keys($node);
is(answer($steady, read_message(1)), 'body 1',
	'a session still reads its message after thousands of chats were made');
is(ask($node, "SELECT chatcrypt.decrypt(100001, 1, '$sealed')"), 'one of many', 'a new chat is warm');
is(ask($node, 'SELECT count(chatcrypt.encrypt(g, g, $$x$$)) FROM generate_series(100001, 103000) AS g'),
	'3000', 'all 3000 new chats are warm');
show_keys($node);
is(ask($node, $evictions), $evictions_before, '3000 new chats cause no eviction and no miss');
my $calls_before = ask($node, $calls);
is(ask($node, 'SELECT count(chatcrypt.encrypt(g, g, $$x$$)) FROM generate_series(100001, 103000) AS g'), '3000', 'a new connection uses 3000 keys');
is(ask($node, $calls), $calls_before,
	'a new connection that uses 3000 keys calls the KMS not once');

# A chat that is rolled back leaves nothing to seal with.
my $maker = session($node);
answer($maker, 'BEGIN');
answer($maker, 'SELECT chatcrypt.create_chat(10)');
is(answer($maker, 'SELECT chatcrypt.decrypt(10, 1, chatcrypt.encrypt(10, 1, $$x$$))'), 'x', 'a new chat works at once');
like(ask($node, 'SELECT chatcrypt.encrypt(10, 1, $$x$$)'), qr/chat .* does not exist/,
	'other transactions do not see a chat before it is committed');
answer($maker, 'ROLLBACK');
like(answer($maker, 'SELECT chatcrypt.encrypt(10, 1, $$x$$)'), qr/chat .* does not exist/,
	'a chat that was rolled back does not exist');
answer($maker, "BEGIN; SAVEPOINT s; SELECT chatcrypt.create_chat(10); SELECT chatcrypt.encrypt(10, 1, 'x'); ROLLBACK TO s");
like(answer($maker, 'SELECT chatcrypt.encrypt(10, 1, $$x$$)'), qr/chat .* does not exist/,
	'a chat that was rolled back to a savepoint does not exist');
answer($maker, 'ROLLBACK');
answer($maker, 'BEGIN; SELECT chatcrypt.rotate_chat(1)');
is(answer($maker, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(1, 1, $$x$$))'), '2', 'a rotation works at once');
is(answer($steady, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(1, 1, $$x$$))'), '1',
	'other transactions do not see a rotation before it is committed');
answer($maker, 'ROLLBACK');
is(answer($maker, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(1, 1, $$x$$))'), '1',
	'a rotation that was rolled back has no effect');
is(answer($maker, 'SELECT chatcrypt.rotate_chat(1)'), '2', 'the version of a rolled back rotation was never used');
is(answer($steady, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(1, 1, $$x$$))'), '2', 'a rotation reaches other sessions');
is(answer($steady, read_message(1)), 'body 1',
	'other sessions read what the key before the rotation sealed');

# Shredding: no session, no snapshot and no cache opens a message afterwards.
new_chat(20);
my $old = session($node);
answer($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
is(answer($old, read_message(20)), 'body 20',
	'a session with an older snapshot reads a chat before it is shredded');
is(answer($steady, read_message(20)), 'body 20',
	'another session reads the chat before it is shredded');
answer($maker, 'BEGIN');
answer($maker, q{SELECT chatcrypt.shred_chat(20, 'irreversible')});
like(answer($maker, read_message(20)), $gone,
	'a shredded chat is gone for the transaction that shreds it');
answer($maker, 'ROLLBACK');
is(answer($maker, read_message(20)), 'body 20',
	'the chat is back after that transaction is rolled back');
answer($maker, q{SELECT chatcrypt.shred_chat(20, 'irreversible')});
like(answer($steady, read_message(20)), $gone, 'a shredded chat is gone for all sessions');
like(answer($old, read_message(20)), $gone, 'a shredded chat is gone for a snapshot from before');
answer($old, 'ROLLBACK');
like(ask($node, read_message(20)), $gone, 'a shredded chat is gone for new sessions');
like(answer($steady, 'SELECT chatcrypt.encrypt(20, 1, $$x$$)'), qr/chat .* has no active data key/,
	'nothing can be sealed for a shredded chat');

# Two-phase commit.
my $prepare = "PREPARE TRANSACTION 'p'";
answer($maker, "BEGIN; SELECT chatcrypt.create_chat(30); SELECT chatcrypt.encrypt(30, 1, 'x'); $prepare");
like(answer($maker, 'SELECT chatcrypt.encrypt(30, 1, $$x$$)'), qr/chat .* does not exist/, 'a prepared chat does not exist yet');
answer($maker, q{ROLLBACK PREPARED 'p'});
like(answer($maker, 'SELECT chatcrypt.encrypt(30, 1, $$x$$)'), qr/chat .* does not exist/,
	'a chat does not exist after ROLLBACK PREPARED');
answer($maker, "BEGIN; SELECT chatcrypt.create_chat(30); SELECT chatcrypt.encrypt(30, 1, 'x'); $prepare");
hide_keys($node);
answer($maker, q{COMMIT PREPARED 'p'});
is(answer($maker, 'SELECT chatcrypt.decrypt(30, 1, chatcrypt.encrypt(30, 1, $$x$$))'), 'x',
	'a chat exists after COMMIT PREPARED and is warm');
show_keys($node);
is(answer($steady, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(30, 1, $$x$$))'), '1',
	'a chat seals with version 1 before a rotation is prepared');
answer($maker, "BEGIN; SELECT chatcrypt.rotate_chat(30); SELECT chatcrypt.encrypt(30, 1, 'x'); $prepare");
is(answer($maker, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(30, 1, $$x$$))'), '1',
	'a prepared rotation has no effect yet');
answer($steady, q{COMMIT PREPARED 'p'});
is(answer($_, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(30, 1, $$x$$))'), '2',
	'a rotation has its effect after COMMIT PREPARED') foreach $maker, $steady;
new_chat(31);
is(answer($_, read_message(31)), 'body 31',
	'a chat reads before a shredding is prepared') foreach $maker, $steady;
answer($maker, "BEGIN; SELECT chatcrypt.shred_chat(31, 'irreversible'); $prepare");
is(answer($_, read_message(31)), 'body 31',
	'a prepared shredding has no effect yet') foreach $maker, $steady;
$node->restart;
$_ = undef foreach $maker, $steady, $old;
$maker = session($node);
$steady = session($node);
is(answer($steady, read_message(31)), 'body 31',
	'a prepared shredding has no effect after a restart either');
answer($maker, q{COMMIT PREPARED 'p'});
like(answer($_, read_message(31)), $gone,
	'a shredding has its effect after COMMIT PREPARED') foreach $maker, $steady;

# Rows that are changed without the functions.
new_chat($_) foreach 40 .. 43;
is(answer($steady, read_message($_)), "body $_", "chat $_ is warm") foreach 40 .. 43;
answer($maker, q{UPDATE chatcrypt.dek SET state = 'destroyed', encrypted_dek = NULL, kcv = NULL, valid_to = now()
	WHERE chat_id = chatcrypt.to_uuid(40)});
like(answer($steady, read_message(40)), $gone, 'a key that was destroyed by UPDATE opens nothing');
answer($maker, 'DELETE FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(41)');
like(answer($steady, read_message(41)), qr/chat .* does not exist/,
	'a chat that was deleted does not open');
is(answer($steady, 'SELECT chatcrypt.decrypt(42, 1, chatcrypt.encrypt(42, 1, $$x$$))'), 'x',
	'a managed chat takes plaintext');
answer($maker, q{UPDATE chatcrypt.chat SET mode = 'e2ee' WHERE chat_id = chatcrypt.to_uuid(42)});
like(answer($steady, 'SELECT chatcrypt.encrypt(42, 1, $$x$$)'), qr/is end-to-end encrypted and takes no plaintext/,
	'a chat takes no plaintext after it becomes end-to-end encrypted');
answer($maker, 'BEGIN; TRUNCATE chatcrypt.dek');
like(answer($maker, read_message(43)), qr/has no data key of version 1/,
	'TRUNCATE: the transaction that truncates has no key');
answer($maker, 'ROLLBACK');
is(answer($_, read_message(43)), 'body 43',
	'TRUNCATE: the key is back after ROLLBACK') foreach $maker, $steady;
answer($maker, 'TRUNCATE chatcrypt.dek');
like(answer($steady, read_message(43)), qr/has no data key of version 1/, 'TRUNCATE: no session has a key');
like(answer($steady, 'SELECT chatcrypt.encrypt(43, 1, $$x$$)'), qr/has no active data key/,
	'TRUNCATE: no session seals');

# The membership of an actor is no older than the chat.
answer($maker, q{BEGIN; SELECT chatcrypt.act_as('bob')});
is(answer($maker, 'SELECT chatcrypt.may_see(chatcrypt.to_uuid(50))'), 'f', 'nobody takes part in a chat that does not exist');
answer($maker, q{SELECT chatcrypt.create_chat(50, ARRAY['bob'])});
is(answer($maker, 'SELECT chatcrypt.may_see(chatcrypt.to_uuid(50))'), 't',
	'a participant takes part in a chat as soon as it is made');
answer($maker, 'COMMIT');

# Parallel workers see a chat of the transaction that they work for.
answer($maker, q{BEGIN; SELECT chatcrypt.create_chat(51);
	SELECT set_config(name, 'on', true) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')});
is(answer($maker, 'SELECT chatcrypt.decrypt(51, 1, chatcrypt.encrypt(51, 1, $$in a worker$$))'), 'in a worker',
	'a parallel worker sees a chat that is not committed');
answer($maker, 'ROLLBACK');
like(answer($maker, 'SELECT chatcrypt.encrypt(51, 1, $$x$$)'), qr/does not exist/,
	'a chat that was made under a parallel worker and rolled back does not exist');

# A cached plan, run under other roles.
new_chat(52);
answer($maker, 'CREATE ROLE reads; GRANT chatcrypt_reader TO reads; CREATE ROLE reads_not');
answer($maker, 'SET plan_cache_mode = force_generic_plan; PREPARE r AS ' . read_message(52));
is(answer($maker, 'EXECUTE r'), 'body 52', 'a prepared statement reads a message');
answer($maker, 'SET ROLE reads');
is(answer($maker, 'EXECUTE r'), 'body 52', 'a prepared statement reads a message as a reader');
answer($maker, 'SET ROLE reads_not');
like(answer($maker, 'EXECUTE r'), qr/permission denied/,
	'a prepared statement is refused to a role that may not read');
answer($maker, 'RESET ROLE');
answer($steady, q{SELECT chatcrypt.shred_chat(52, 'irreversible')});
like(answer($maker, 'EXECUTE r'), $gone,
	'a prepared statement reads nothing after the chat was shredded');

# A cloned database has the same keys; from then on they change independently.
new_chat(60);
$_->quit foreach $maker, $steady;
$node->safe_psql('template1', 'CREATE DATABASE clone TEMPLATE postgres');
is(ask($node, read_message(60), 'clone'), 'body 60', 'a clone reads the same');
is(ask($node, 'SELECT chatcrypt.rotate_chat(60)', 'clone'), '2', 'a chat is rotated in the clone');
is(ask($node, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(60, 1, $$x$$))'), '1',
	'a rotation in the clone leaves the chat of the other database alone');
is(ask($node, q{SELECT chatcrypt.shred_chat(60, 'irreversible')}, 'clone'), '2',
	'a chat is shredded in the clone');
like(ask($node, read_message(60), 'clone'), $gone,
	'a chat that was shredded in the clone does not open there');
hide_keys($node);
is(ask($node, read_message(60)), 'body 60',
	'shredding in the clone leaves the cached key of the other database alone');
show_keys($node);
$node->safe_psql('postgres', 'DROP DATABASE clone');
is(ask($node, read_message(60)), 'body 60',
	'DROP DATABASE of the clone leaves the other database alone');

$node->stop;
done_testing();
