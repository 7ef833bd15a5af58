# What sessions and the cluster remember of keys, and when they forget it.  With the master
# keys out of reach, whatever still works was remembered.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('caches', conf => "max_prepared_transactions = 5\nchatcrypt.on_decrypt_error = raise\n");
my $away = qr/could not unwrap the data key of chat .* version \d/;

# A chat with one message in it, whose id is the chat's.
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

# Warm chats go on without a KMS, in new connections too; cold ones say what is wrong.
new_chat($_) foreach 1 .. 3;
$node->restart;
is(ask($node, read_message(1)), 'body 1', 'a cold chat asks the KMS');
hide_keys($node);
is(ask($node, read_message(1)), 'body 1', 'a new connection finds it in the shared cache');
is(ask($node, 'SELECT chatcrypt.decrypt(1, 7, chatcrypt.encrypt(1, 7, $$x$$))'), 'x', 'and seals with it');
like(ask($node, read_message(2)), $away, 'a cold chat does not open without the KMS');
like(ask($node, 'SELECT chatcrypt.create_chat(4)'), qr/could not make the data key of chat/, 'nor is a new one made');
is(ask($node, 'SELECT count(*) FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(4)'), '0', 'or half of one');

# New chats flush nobody.
my $steady = session($node);
is(answer($steady, read_message(1)), 'body 1', 'a session reads');
show_keys($node);
my $evictions = 'SELECT evictions, misses FROM chatcrypt.cache_status';
my $calls = 'SELECT calls FROM chatcrypt.kms_status';
my $evictions_before = ask($node, $evictions);
is(ask($node, 'SELECT chatcrypt.create_chats(array_agg(g)) FROM generate_series(100001::bigint, 103000) AS g'),
	'3000', 'while thousands of chats are made');
my $sealed = ask($node, 'SELECT chatcrypt.encrypt(100001, 1, $$one of many$$)');
hide_keys($node);
is(answer($steady, read_message(1)), 'body 1', 'it reads on');
is(ask($node, "SELECT chatcrypt.decrypt(100001, 1, '$sealed')"), 'one of many', 'and new chats are warm');
is(ask($node, 'SELECT count(chatcrypt.encrypt(g, g, $$x$$)) FROM generate_series(100001, 103000) AS g'),
	'3000', 'all of them');
show_keys($node);
is(ask($node, $evictions), $evictions_before, 'nothing was evicted, and nothing missed');
my $calls_before = ask($node, $calls);
is(ask($node, 'SELECT count(chatcrypt.encrypt(g, g, $$x$$)) FROM generate_series(100001, 103000) AS g'), '3000', 'a new connection uses 3000 keys');
is(ask($node, $calls), $calls_before, 'without a call to the KMS');

# A chat that is rolled back leaves nothing to seal with.
my $maker = session($node);
answer($maker, 'BEGIN');
answer($maker, 'SELECT chatcrypt.create_chat(10)');
is(answer($maker, 'SELECT chatcrypt.decrypt(10, 1, chatcrypt.encrypt(10, 1, $$x$$))'), 'x', 'a new chat works at once');
like(ask($node, 'SELECT chatcrypt.encrypt(10, 1, $$x$$)'), qr/chat .* does not exist/, 'for its own transaction alone');
answer($maker, 'ROLLBACK');
like(answer($maker, 'SELECT chatcrypt.encrypt(10, 1, $$x$$)'), qr/chat .* does not exist/, 'and is gone with it');
answer($maker, "BEGIN; SAVEPOINT s; SELECT chatcrypt.create_chat(10); SELECT chatcrypt.encrypt(10, 1, 'x'); ROLLBACK TO s");
like(answer($maker, 'SELECT chatcrypt.encrypt(10, 1, $$x$$)'), qr/chat .* does not exist/, 'as with a savepoint');
answer($maker, 'ROLLBACK');
answer($maker, 'BEGIN; SELECT chatcrypt.rotate_chat(1)');
is(answer($maker, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(1, 1, $$x$$))'), '2', 'a rotation works at once');
is(answer($steady, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(1, 1, $$x$$))'), '1', 'for its own transaction alone');
answer($maker, 'ROLLBACK');
is(answer($maker, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(1, 1, $$x$$))'), '1', 'and is gone with it');
is(answer($maker, 'SELECT chatcrypt.rotate_chat(1)'), '2', 'the version of a rolled back rotation was never used');
is(answer($steady, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(1, 1, $$x$$))'), '2', 'a rotation reaches other sessions');
is(answer($steady, read_message(1)), 'body 1', 'which read what the old key sealed');

# Shredding: no session, no snapshot and no cache opens a message afterwards.
new_chat(20);
my $old = session($node);
answer($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
is(answer($old, read_message(20)), 'body 20', 'before it is shredded');
is(answer($steady, read_message(20)), 'body 20', 'in two sessions');
answer($maker, 'BEGIN');
answer($maker, q{SELECT chatcrypt.shred_chat(20, 'irreversible')});
like(answer($maker, read_message(20)), $gone, 'shredded for its own transaction');
answer($maker, 'ROLLBACK');
is(answer($maker, read_message(20)), 'body 20', 'and back after ROLLBACK');
answer($maker, q{SELECT chatcrypt.shred_chat(20, 'irreversible')});
like(answer($steady, read_message(20)), $gone, 'shredded for all sessions');
like(answer($old, read_message(20)), $gone, 'and for a snapshot from before');
answer($old, 'ROLLBACK');
like(ask($node, read_message(20)), $gone, 'and for new ones');
like(answer($steady, 'SELECT chatcrypt.encrypt(20, 1, $$x$$)'), qr/chat .* has no active data key/, 'nor is anything sealed');

# Two-phase commit.
my $prepare = "PREPARE TRANSACTION 'p'";
answer($maker, "BEGIN; SELECT chatcrypt.create_chat(30); SELECT chatcrypt.encrypt(30, 1, 'x'); $prepare");
like(answer($maker, 'SELECT chatcrypt.encrypt(30, 1, $$x$$)'), qr/chat .* does not exist/, 'a prepared chat does not exist yet');
answer($maker, q{ROLLBACK PREPARED 'p'});
like(answer($maker, 'SELECT chatcrypt.encrypt(30, 1, $$x$$)'), qr/chat .* does not exist/, 'nor after ROLLBACK PREPARED');
answer($maker, "BEGIN; SELECT chatcrypt.create_chat(30); SELECT chatcrypt.encrypt(30, 1, 'x'); $prepare");
hide_keys($node);
answer($maker, q{COMMIT PREPARED 'p'});
is(answer($maker, 'SELECT chatcrypt.decrypt(30, 1, chatcrypt.encrypt(30, 1, $$x$$))'), 'x', 'after COMMIT PREPARED it does, and is warm');
show_keys($node);
is(answer($steady, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(30, 1, $$x$$))'), '1', 'a prepared rotation');
answer($maker, "BEGIN; SELECT chatcrypt.rotate_chat(30); SELECT chatcrypt.encrypt(30, 1, 'x'); $prepare");
is(answer($maker, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(30, 1, $$x$$))'), '1', 'has not happened yet');
answer($steady, q{COMMIT PREPARED 'p'});
is(answer($_, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(30, 1, $$x$$))'), '2', 'and then has') foreach $maker, $steady;
new_chat(31);
is(answer($_, read_message(31)), 'body 31', 'a prepared shredding') foreach $maker, $steady;
answer($maker, "BEGIN; SELECT chatcrypt.shred_chat(31, 'irreversible'); $prepare");
is(answer($_, read_message(31)), 'body 31', 'has not happened yet') foreach $maker, $steady;
$node->restart;
$_ = undef foreach $maker, $steady, $old;
$maker = session($node);
$steady = session($node);
is(answer($steady, read_message(31)), 'body 31', 'nor after a restart');
answer($maker, q{COMMIT PREPARED 'p'});
like(answer($_, read_message(31)), $gone, 'and then has') foreach $maker, $steady;

# Rows that are changed behind the functions' back.
new_chat($_) foreach 40 .. 43;
is(answer($steady, read_message($_)), "body $_", "chat $_ is warm") foreach 40 .. 43;
answer($maker, q{UPDATE chatcrypt.dek SET state = 'destroyed', encrypted_dek = NULL, kcv = NULL, valid_to = now()
	WHERE chat_id = chatcrypt.to_uuid(40)});
like(answer($steady, read_message(40)), $gone, 'a key destroyed by UPDATE');
answer($maker, 'DELETE FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(41)');
like(answer($steady, read_message(41)), qr/chat .* does not exist/, 'a chat that was deleted');
is(answer($steady, 'SELECT chatcrypt.decrypt(42, 1, chatcrypt.encrypt(42, 1, $$x$$))'), 'x', 'a chat takes plaintext');
answer($maker, q{UPDATE chatcrypt.chat SET mode = 'e2ee' WHERE chat_id = chatcrypt.to_uuid(42)});
like(answer($steady, 'SELECT chatcrypt.encrypt(42, 1, $$x$$)'), qr/is end-to-end encrypted and takes no plaintext/,
	'until it is end-to-end encrypted');
answer($maker, 'BEGIN; TRUNCATE chatcrypt.dek');
like(answer($maker, read_message(43)), qr/has no data key of version 1/, 'TRUNCATE: its own transaction has no key');
answer($maker, 'ROLLBACK');
is(answer($_, read_message(43)), 'body 43', 'back after ROLLBACK') foreach $maker, $steady;
answer($maker, 'TRUNCATE chatcrypt.dek');
like(answer($steady, read_message(43)), qr/has no data key of version 1/, 'TRUNCATE: no session has a key');
like(answer($steady, 'SELECT chatcrypt.encrypt(43, 1, $$x$$)'), qr/has no active data key/, 'or seals with one');

# An actor's membership is no older than the chat.
answer($maker, q{BEGIN; SELECT chatcrypt.act_as('bob')});
is(answer($maker, 'SELECT chatcrypt.may_see(chatcrypt.to_uuid(50))'), 'f', 'nobody takes part in a chat that does not exist');
answer($maker, q{SELECT chatcrypt.create_chat(50, ARRAY['bob'])});
is(answer($maker, 'SELECT chatcrypt.may_see(chatcrypt.to_uuid(50))'), 't', 'until it is made');
answer($maker, 'COMMIT');

# Parallel workers see a chat of the transaction that they work for.
answer($maker, q{BEGIN; SELECT chatcrypt.create_chat(51);
	SELECT set_config(name, 'on', true) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')});
is(answer($maker, 'SELECT chatcrypt.decrypt(51, 1, chatcrypt.encrypt(51, 1, $$in a worker$$))'), 'in a worker',
	'a parallel worker sees a chat that is not committed');
answer($maker, 'ROLLBACK');
like(answer($maker, 'SELECT chatcrypt.encrypt(51, 1, $$x$$)'), qr/does not exist/, 'and nobody afterwards');

# A kept plan, and another role in the middle of it.
new_chat(52);
answer($maker, 'CREATE ROLE reads; GRANT chatcrypt_reader TO reads; CREATE ROLE reads_not');
answer($maker, 'SET plan_cache_mode = force_generic_plan; PREPARE r AS ' . read_message(52));
is(answer($maker, 'EXECUTE r'), 'body 52', 'a prepared statement');
answer($maker, 'SET ROLE reads');
is(answer($maker, 'EXECUTE r'), 'body 52', 'as a reader');
answer($maker, 'SET ROLE reads_not');
like(answer($maker, 'EXECUTE r'), qr/permission denied/, 'as somebody else');
answer($maker, 'RESET ROLE');
answer($steady, q{SELECT chatcrypt.shred_chat(52, 'irreversible')});
like(answer($maker, 'EXECUTE r'), $gone, 'and after the chat was shredded');

# A database that is cloned has the same keys, and they live and die on their own.
new_chat(60);
$_->quit foreach $maker, $steady;
$node->safe_psql('template1', 'CREATE DATABASE clone TEMPLATE postgres');
is(ask($node, read_message(60), 'clone'), 'body 60', 'a clone reads the same');
is(ask($node, 'SELECT chatcrypt.rotate_chat(60)', 'clone'), '2', 'rotates on its own');
is(ask($node, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(60, 1, $$x$$))'), '1', 'and leaves the other alone');
is(ask($node, q{SELECT chatcrypt.shred_chat(60, 'irreversible')}, 'clone'), '2', 'shreds on its own');
like(ask($node, read_message(60), 'clone'), $gone, 'for itself');
hide_keys($node);
is(ask($node, read_message(60)), 'body 60', 'and not even from the cache of the other');
show_keys($node);
$node->safe_psql('postgres', 'DROP DATABASE clone');
is(ask($node, read_message(60)), 'body 60', 'nor does DROP DATABASE touch the other');

$node->stop;
done_testing();
