# A session that goes round more chats than its process keeps keys of at hand: it need not read
# their rows again, and it notices all that the rows say.
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

is(ask($node, "SELECT chatcrypt.create_chats(array_agg(n)) FROM generate_series(1::bigint, $chats) AS n"), $chats, 'many chats');
my %sealed = map { $_ => ask($node, "SELECT chatcrypt.encrypt($_, 1, 'body $_')") } 1 .. 5;
sub open_it
{
	my ($chat) = @_;
	return "SELECT chatcrypt.decrypt($chat, 1, '$sealed{$chat}')";
}

cmp_ok(rows_read(sub { goes_round('one round') }), '>=', $chats, 'which reads a row for each');
goes_round('a second one') ;
cmp_ok(rows_read(sub { goes_round('a third one') }), '<', 100, 'which reads none');
is(answer($steady, "SELECT bool_and(chatcrypt.decrypt(n, n, chatcrypt.encrypt(n, n, n::text)) = n::text) FROM generate_series(1, $chats) AS n"),
	't', 'and each chat has its own key');

# All that can happen to a key while the session has nothing but its name.
is(answer($steady, open_it($_)), "body $_", "chat $_ opens") foreach 1 .. 5;
goes_round('and gives way to others');
answer($other, q{SELECT chatcrypt.shred_chat(1, 'irreversible')});
like(answer($steady, open_it(1)), $gone, 'a key that was shredded');
like(answer($steady, version_of(1)), qr/has no active data key/, 'seals nothing either');
answer($other, q{UPDATE chatcrypt.chat SET mode = 'e2ee' WHERE chat_id = chatcrypt.to_uuid(2)});
like(answer($steady, version_of(2)), qr/is end-to-end encrypted/, 'a chat that takes no plaintext any more');
answer($other, 'DELETE FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(3)');
like(answer($steady, open_it(3)), qr/does not exist/, 'a chat that was deleted');
$round = "SELECT count(chatcrypt.encrypt(n, 1, 'x')) FROM generate_series(4, $chats) AS n";
$chats -= 3;
goes_round('the others');
goes_round('again');
is(answer($other, 'SELECT chatcrypt.rotate_chat(4)'), '2', 'another session rotates one');
is(answer($steady, version_of(4)), '2', 'which is noticed');
is(answer($steady, open_it(4)), 'body 4', 'and what the key before sealed opens');

# What a transaction saw of its own is not remembered past its end.
answer($steady, 'BEGIN; SELECT chatcrypt.rotate_chat(5)');
goes_round('in a transaction that has rotated one');
goes_round('again');
is(answer($steady, version_of(5)), '2', 'it has the new key');
answer($steady, 'ROLLBACK');
is(answer($steady, version_of(5)), '1', 'and no more after ROLLBACK');
answer($steady, 'BEGIN; SAVEPOINT s; SELECT chatcrypt.rotate_chat(5)');
goes_round('after a savepoint');
goes_round('again');
answer($steady, 'ROLLBACK TO s');
is(answer($steady, version_of(5)), '1', 'the same with ROLLBACK TO');
goes_round('go round in what is left of it');
answer($steady, 'COMMIT');

# Policies of chats are remembered likewise.
my $insert = 'INSERT INTO chatcrypt.messages (chat_id, body) SELECT chatcrypt.to_uuid(n), $$x$$ FROM generate_series(10, 2009) AS n';
cmp_ok(rows_read(sub { answer($steady, $insert) }, 'tenant'), '>=', 2000, 'a message in each of 2000 chats asks how long it is kept');
cmp_ok(rows_read(sub { answer($steady, $insert) }, $_), '<', 100, "a second one reads no row of $_ for it") foreach 'tenant', 'chat';
answer($other, q{UPDATE chatcrypt.chat SET retention = '1 day' WHERE chat_id = chatcrypt.to_uuid(1000)});
answer($steady, $insert);
is(ask($node, 'SELECT count(*) FROM chatcrypt.messages WHERE expires_at IS NOT NULL'), '1', 'until one of the policies changes');

# So is who takes part, while there is an actor, and for that actor.
answer($other, q{UPDATE chatcrypt.chats SET participants = '{alice}' WHERE chat_id BETWEEN chatcrypt.to_uuid(10) AND chatcrypt.to_uuid(2009)});
my $seen = 'SELECT count(*) FROM generate_series(10, 2010) AS n WHERE chatcrypt.may_see(chatcrypt.to_uuid(n))';
my $twice = rows_read(sub { answer($steady, "BEGIN; SELECT chatcrypt.act_as('alice'); $seen; $seen; COMMIT") }, 'participant');
cmp_ok($twice, '>=', 2000, 'a transaction asks of 2000 chats whether its actor may see them');
cmp_ok($twice, '<', 2100, 'and the second time reads none of them');
answer($steady, "BEGIN; SELECT chatcrypt.act_as('alice')");
is(answer($steady, $seen), '2000', 'an actor sees its chats');
answer($other, q{SELECT chatcrypt.remove_participant(1000, 'alice')});
is(answer($steady, $seen), '1999', 'and at once not the one that it was removed from');
answer($steady, "COMMIT; BEGIN; SELECT chatcrypt.act_as('bob')");
is(answer($steady, $seen), '0', 'what is remembered is not of another actor');
answer($steady, "COMMIT; BEGIN; SELECT chatcrypt.act_as('alice')");
is(answer($steady, $seen), '1999', 'nor of the one before');
answer($steady, 'SAVEPOINT s');
answer($steady, "SELECT chatcrypt.remove_participant(1001, 'alice')");
is(answer($steady, $seen), '1998', 'one that the transaction itself removes');
answer($steady, 'ROLLBACK TO s');
is(answer($steady, $seen), '1999', 'is back after ROLLBACK TO');
is(answer($steady, 'SELECT chatcrypt.may_see(chatcrypt.to_uuid(100000))'), 'f', 'a chat that does not exist');
answer($other, q{SELECT chatcrypt.create_chat(100000, '{alice}'), chatcrypt.add_participant(1000, 'alice')});
is(answer($steady, 'SELECT chatcrypt.may_see(chatcrypt.to_uuid(100000))'), 't', 'is seen when it does');
is(answer($steady, $seen), '2000', 'and so is one that was joined');
answer($other, q{SELECT chatcrypt.create_chat(100001, '{alice,bob}')});
cmp_ok(rows_read(sub { answer($steady, $seen) }, 'participant'), '<', 100, 'that another session makes a chat costs nobody what it knows of others');
is(answer($steady, 'SELECT chatcrypt.may_see(chatcrypt.to_uuid(100001))'), 't', 'and the new chat is seen');
answer($steady, 'COMMIT');
is(answer($steady, $seen), '2001', 'without an actor there is no question');

# The limits of the shared cache hold for what comes back from it.
goes_round('all is warm') foreach 1, 2;
$node->append_conf('postgresql.conf', "chatcrypt.cache_ttl = '1s'\n");
$node->reload;
sleep 2;
my $refreshes = status('refreshes');
cmp_ok(rows_read(sub { goes_round('past the soft limit') }), '>=', $chats, 'rows are read for what is to be unwrapped again');
cmp_ok(status('refreshes') - $refreshes, '>=', $chats, 'which all of it is');
hide_keys($node);
is(answer($steady, open_it(4)), 'body 4', 'with the KMS away it goes on');
$node->append_conf('postgresql.conf', "chatcrypt.cache_ttl = '1s'\nchatcrypt.cache_max_age = '1s'\n");
$node->reload;
sleep 2;
like(answer($steady, open_it(5)), qr/could not unwrap the data key/, 'past the hard limit nothing opens');
show_keys($node);
is(answer($steady, open_it(5)), 'body 5', 'until the KMS is back');

$_->quit foreach $steady, $other;
$node->stop;
done_testing();
