# A session that goes round more chats than its process keeps keys of at hand: it need not read
# their rows again, and it notices every change to the rows.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use Test::More;

my $chats = 6000;
my $node = Chatcrypt::Test->start('many', conf => "chatcrypt.on_decrypt_error = raise\n");
my $gone = qr/ERROR:  the data key of chat .* version 1 was destroyed/;
my $round = "SELECT count(chatcrypt.encrypt(n, 1, 'x')) FROM generate_series(1, $chats) AS n";
my $steady = session($node);
my $other = session($node);

sub version_of
{
	my ($chat) = @_;
	return "SELECT chatcrypt.dek_version(chatcrypt.encrypt($chat, 1, 'x'))";
}

# Rows of a table that the steady session has looked up.
sub rows_read
{
	my ($code, $table) = @_;
	my $sum = q{SELECT sum(idx_scan) FROM pg_stat_user_indexes WHERE relname = '} . ($table // 'dek') . q{'};
	answer($steady, 'SELECT pg_stat_force_next_flush()');
	my $before = ask($node, $sum);
	$code->();
	answer($steady, 'SELECT pg_stat_force_next_flush()');
	return ask($node, $sum) - $before;
}

sub status
{
	my ($column) = @_;
	return ask($node, "SELECT $column FROM chatcrypt.cache_status");
}

sub goes_round
{
	my ($what) = @_;
	is(answer($steady, $round), $chats, $what);
	return;
}

is(ask($node, "SELECT chatcrypt.create_chats(array_agg(n)) FROM generate_series(1::bigint, $chats) AS n"), $chats,
	'many chats are made');
my %sealed = map { $_ => ask($node, "SELECT chatcrypt.encrypt($_, 1, 'body $_')") } 1 .. 5;
sub open_it
{
	my ($chat) = @_;
	return "SELECT chatcrypt.decrypt($chat, 1, '$sealed{$chat}')";
}

cmp_ok(rows_read(sub { goes_round('a first round through all chats seals for each') }), '>=', $chats,
	'a first round reads a row for each chat');
goes_round('a second round through all chats seals for each');
cmp_ok(rows_read(sub { goes_round('a third round through all chats seals for each') }), '<', 100,
	'a third round reads hardly any row');
is(answer($steady, "SELECT bool_and(chatcrypt.decrypt(n, n, chatcrypt.encrypt(n, n, n::text)) = n::text) FROM generate_series(1, $chats) AS n"),
	't', 'each chat has its own key');

# Changes to a key while the session has nothing but its name.
is(answer($steady, open_it($_)), "body $_", "chat $_ opens") foreach 1 .. 5;
goes_round('a round evicts the keys of the first chats from the process');
answer($other, q{SELECT chatcrypt.shred_chat(1, 'irreversible')});
like(answer($steady, open_it(1)), $gone, 'a key that was shredded opens nothing');
like(answer($steady, version_of(1)), qr/has no active data key/,
	'a key that was shredded seals nothing');
answer($other, q{UPDATE chatcrypt.chat SET mode = 'e2ee' WHERE chat_id = chatcrypt.to_uuid(2)});
like(answer($steady, version_of(2)), qr/is end-to-end encrypted/,
	'a chat that became end-to-end encrypted takes no plaintext');
answer($other, 'DELETE FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(3)');
like(answer($steady, open_it(3)), qr/does not exist/, 'a chat that was deleted does not open');
$round = "SELECT count(chatcrypt.encrypt(n, 1, 'x')) FROM generate_series(4, $chats) AS n";
$chats -= 3;
goes_round('a round through the remaining chats seals for each');
goes_round('another round through the remaining chats seals for each');
is(answer($other, 'SELECT chatcrypt.rotate_chat(4)'), '2', 'another session rotates a chat');
is(answer($steady, version_of(4)), '2', 'a rotation by another session is noticed');
is(answer($steady, open_it(4)), 'body 4', 'what the key before the rotation sealed opens');

# What a transaction saw of its own changes is not remembered past its end.
answer($steady, 'BEGIN; SELECT chatcrypt.rotate_chat(5)');
goes_round('a round in a transaction that has rotated a key seals for each');
goes_round('a second round in a transaction that has rotated a key seals for each');
is(answer($steady, version_of(5)), '2',
	'a transaction that has rotated a key seals with the new one');
answer($steady, 'ROLLBACK');
is(answer($steady, version_of(5)), '1', 'the new key is not used after ROLLBACK');
answer($steady, 'BEGIN; SAVEPOINT s; SELECT chatcrypt.rotate_chat(5)');
goes_round('a round after a savepoint and a rotation seals for each');
goes_round('a second round after a savepoint and a rotation seals for each');
answer($steady, 'ROLLBACK TO s');
is(answer($steady, version_of(5)), '1', 'the new key is not used after ROLLBACK TO');
goes_round('a round in the transaction that was rolled back to a savepoint seals for each');
answer($steady, 'COMMIT');

# Policies of chats are remembered in the same way.
my $insert = 'INSERT INTO chatcrypt.messages (chat_id, body) SELECT chatcrypt.to_uuid(n), $$x$$ FROM generate_series(10, 2009) AS n';
cmp_ok(rows_read(sub { answer($steady, $insert) }, 'tenant'), '>=', 2000,
	'a message in each of 2000 chats looks up how long it is kept');
cmp_ok(rows_read(sub { answer($steady, $insert) }, $_), '<', 100,
	"a second message in each of 2000 chats reads hardly any row of $_") foreach 'tenant', 'chat';
answer($other, q{UPDATE chatcrypt.chat SET retention = '1 day' WHERE chat_id = chatcrypt.to_uuid(1000)});
answer($steady, $insert);
is(ask($node, 'SELECT count(*) FROM chatcrypt.messages WHERE expires_at IS NOT NULL'), '1',
	'a change of the retention of a chat is noticed');

# Participation is remembered as well, while there is an actor, and for that actor.
answer($other, q{UPDATE chatcrypt.chats SET participants = '{alice}' WHERE chat_id BETWEEN chatcrypt.to_uuid(10) AND chatcrypt.to_uuid(2009)});
my $seen = 'SELECT count(*) FROM generate_series(10, 2010) AS n WHERE chatcrypt.may_see(chatcrypt.to_uuid(n))';
my $twice = rows_read(sub { answer($steady, "BEGIN; SELECT chatcrypt.act_as('alice'); $seen; $seen; COMMIT") }, 'participant');
cmp_ok($twice, '>=', 2000, 'a transaction looks up for 2000 chats whether its actor may see them');
cmp_ok($twice, '<', 2100, 'a transaction does not look up the same 2000 chats again');
answer($steady, "BEGIN; SELECT chatcrypt.act_as('alice')");
is(answer($steady, $seen), '2000', 'an actor sees its chats');
answer($other, q{SELECT chatcrypt.remove_participant(1000, 'alice')});
is(answer($steady, $seen), '1999', 'an actor at once does not see a chat that it was removed from');
answer($steady, "COMMIT; BEGIN; SELECT chatcrypt.act_as('bob')");
is(answer($steady, $seen), '0',
	'another actor does not see the chats that were remembered for the first');
answer($steady, "COMMIT; BEGIN; SELECT chatcrypt.act_as('alice')");
is(answer($steady, $seen), '1999',
	'the first actor does not see the chats that were remembered for the other');
answer($steady, 'SAVEPOINT s');
answer($steady, "SELECT chatcrypt.remove_participant(1001, 'alice')");
is(answer($steady, $seen), '1998',
	'an actor does not see a chat that its own transaction removed it from');
answer($steady, 'ROLLBACK TO s');
is(answer($steady, $seen), '1999', 'the actor sees the chat again after ROLLBACK TO');
is(answer($steady, 'SELECT chatcrypt.may_see(chatcrypt.to_uuid(100000))'), 'f',
	'a chat that does not exist is not seen');
answer($other, q{SELECT chatcrypt.create_chat(100000, '{alice}'), chatcrypt.add_participant(1000, 'alice')});
is(answer($steady, 'SELECT chatcrypt.may_see(chatcrypt.to_uuid(100000))'), 't',
	'a chat that was not seen because it did not exist is seen when it does');
is(answer($steady, $seen), '2000', 'a chat that the actor was added to is seen');
answer($other, q{SELECT chatcrypt.create_chat(100001, '{alice,bob}')});
cmp_ok(rows_read(sub { answer($steady, $seen) }, 'participant'), '<', 100,
	'a chat that another session makes does not invalidate what is known of others');
is(answer($steady, 'SELECT chatcrypt.may_see(chatcrypt.to_uuid(100001))'), 't',
	'a new chat of another session is seen');
answer($steady, 'COMMIT');
is(answer($steady, $seen), '2001', 'every chat is seen without an actor');

# The limits of the shared cache hold for keys that come back from it.
goes_round('a round with a warm cache seals for each') foreach 1, 2;
$node->append_conf('postgresql.conf', "chatcrypt.cache_ttl = '1s'\n");
$node->reload;
sleep 2;
my $refreshes = status('refreshes');
cmp_ok(rows_read(sub { goes_round('a round past the soft limit seals for each') }), '>=', $chats,
	'rows are read again for keys past the soft limit');
cmp_ok(status('refreshes') - $refreshes, '>=', $chats,
	'all keys past the soft limit are refreshed');
hide_keys($node);
is(answer($steady, open_it(4)), 'body 4', 'a key past the soft limit opens while the KMS is away');
$node->append_conf('postgresql.conf', "chatcrypt.cache_ttl = '1s'\nchatcrypt.cache_max_age = '1s'\n");
$node->reload;
sleep 2;
like(answer($steady, open_it(5)), qr/could not unwrap the data key/,
	'a key past the hard limit opens nothing while the KMS is away');
show_keys($node);
is(answer($steady, open_it(5)), 'body 5', 'a key past the hard limit opens when the KMS is back');

$_->quit foreach $steady, $other;
$node->stop;
done_testing();
