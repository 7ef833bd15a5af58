# Each error in docs/troubleshooting.md can be provoked, in the way shown here.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('met');
my $port = PostgreSQL::Test::Cluster::get_free_port();
$node->append_conf('pg_hba.conf', "host all all 127.0.0.1/32 trust\n");
$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\nport = $port\n");
$node->{_port} = $port;
$node->restart;

$node->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chats('{1,2,3,4,5}'::bigint[], participants => ARRAY['alice']);
SELECT chatcrypt.create_chat(6, mode => 'conversation_key', participants => ARRAY['alice', 'bob']);
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body)
	SELECT chatcrypt.to_uuid(n), chatcrypt.to_uuid(n), 'alice', 'body ' || n FROM generate_series(1, 6) AS n WHERE n <> 5;
SELECT chatcrypt.shred_chat(5, 'irreversible');
SELECT chatcrypt.begin_attachment(1, 10);
SELECT chatcrypt.put_attachment(1, 11, 'a file');
UPDATE chatcrypt.chat SET attachment_quota = 1 WHERE chat_id = chatcrypt.to_uuid(2);
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(3), 'from before the search');
SELECT chatcrypt.set_search(3, 'blind');
CREATE TABLE kept AS SELECT chatcrypt.encrypt(1, 1, 'kept') AS envelope,
	chatcrypt.encrypt_attachment(1, 12, 'kept') AS file, chatcrypt.wire_message(6, 6) AS wire;
GRANT SELECT ON kept TO PUBLIC;
GRANT CREATE ON SCHEMA public TO PUBLIC;
CREATE ROLE nobody;
CREATE ROLE writer IN ROLE chatcrypt_writer;
CREATE ROLE reader IN ROLE chatcrypt_reader;
SQL

# All errors and notices of the SQL; a session goes on after an error.
sub said_to
{
	my ($sql, @options) = @_;
	my (undef, undef, $said) = $node->psql('postgres', $sql, on_error_stop => 0, @options);
	return $said;
}

sub without_library
{
	my ($sql) = @_;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
	$node->restart;
	my $said = said_to($sql);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'chatcrypt'\n");
	$node->restart;
	return $said;
}

sub without_keys
{
	$node->restart;
	hide_keys($node);
	my $said = said_to('SELECT body FROM chatcrypt.messages');
	show_keys($node);
	$node->restart;
	return $said;
}

# An UPDATE of the view waits and goes on.  MERGE, which takes a view from PostgreSQL 17 on, does
# not wait; an UPDATE of a view that was made a security barrier does not either.
sub two_at_once
{
	my ($first, $second) = (session($node), session($node));
	my $update = q{UPDATE chatcrypt.messages SET body = body || '!' WHERE message_id = chatcrypt.to_uuid(1)};
	my $merge = q{MERGE INTO chatcrypt.messages AS m USING (SELECT chatcrypt.to_uuid(1)) AS s (id) ON m.message_id = s.id
		WHEN MATCHED THEN UPDATE SET body = m.body || '!'};
	my $takes_merge = $node->pg_version >= 17;

	$node->safe_psql('postgres', 'ALTER VIEW chatcrypt.messages SET (security_barrier)') unless $takes_merge;
	answer($first, "BEGIN; $update");
	start($second, $takes_merge ? $merge : $update);
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'});
	answer($first, 'COMMIT');
	my $said = outcome($second);
	$_->quit foreach $first, $second;
	return $said;
}

sub over_tcp
{
	return said_to('SET chatcrypt.require_tls = on; SELECT body FROM chatcrypt.messages',
		connstr => "host=127.0.0.1 port=$port sslmode=disable dbname=postgres");
}

my $as_bob = q{BEGIN; SELECT chatcrypt.act_as('bob')};
my %meets = (
	'chatcrypt must be loaded through shared_preload_libraries' => sub { without_library('SELECT chatcrypt.new_message_id()') },
	'DROP … is refused in a database of chatcrypt while its library is not loaded' => sub { without_library('DROP EXTENSION chatcrypt') },
	'chat … does not exist' => q{SELECT chatcrypt.encrypt(99, 1, 'x')},
	'chat … already exists' => 'SELECT chatcrypt.create_chat(1)',
	'malformed array literal: "alice"' => q{SELECT chatcrypt.create_chat(98, 'alice')},
	'message_id, chat_id, sender and created_at of a message cannot be changed without a new envelope' =>
	  q{UPDATE chatcrypt.sealed_message SET sender = 'bob'},
	'a trigger changed an id, the sender or the time of a message after it was sealed' => q{BEGIN;
		CREATE FUNCTION public.rename() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.sender := ''bob''; RETURN NEW; END';
		CREATE TRIGGER rename BEFORE INSERT ON chatcrypt.sealed_message FOR EACH ROW EXECUTE FUNCTION public.rename();
		INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES (chatcrypt.to_uuid(1), 'alice', 'x')},
	'additional data that begins with "row", "col" or "file" and a zero byte is reserved' =>
	  q{SET ROLE writer; SELECT chatcrypt.encrypt(1, 1, 'x', '\x726f7700')},
	'could not unwrap the data key of chat …' => \&without_keys,
	'the message does not open' => 'SELECT chatcrypt.decrypt(1, 2, envelope) FROM kept',
	'the data key of chat … was destroyed' => q{SELECT chatcrypt.decrypt(5, 1, set_byte(envelope, 4, 1)) FROM kept},
	'permission denied for schema chatcrypt' => q{SET ROLE nobody; SELECT body FROM chatcrypt.messages},
	'permission denied for function …' => q{SET ROLE writer; SELECT chatcrypt.decrypt(1, 1, envelope) FROM kept},
	'permission denied for view …' => q{SET ROLE writer; SELECT body FROM chatcrypt.messages},
	'permission denied for table chat' => q{SET ROLE writer; CREATE TABLE t (chat_id uuid REFERENCES chatcrypt.chat)},
	'permission denied for table sealed_message' => q{SET ROLE writer; CREATE TABLE t (message_id uuid REFERENCES chatcrypt.sealed_message)},
	'the current actor is not a participant of this chat' => "$as_bob; SELECT chatcrypt.decrypt(1, 1, envelope) FROM kept",
	'this transaction has no actor' => q{SET chatcrypt.require_actor = on; SELECT chatcrypt.decrypt(1, 1, envelope) FROM kept},
	'this transaction acts for somebody else' => "$as_bob; SELECT chatcrypt.act_as('alice')",
	'could not update the message: another session changed it' => \&two_at_once,
	'messages are not encrypted or decrypted over an unencrypted connection' => \&over_tcp,
	'invalid id of a chat, message or file' => q{SELECT chatcrypt.encrypt('lunch', 1, 'x')},
	'chat … is not of mode conversation_key' => q{SELECT chatcrypt.accept_wire_message(1, wire - 'chat_id') FROM kept},
	'the message is not the current actor\'s' => "BEGIN; SELECT chatcrypt.act_as('bob'); SELECT chatcrypt.put_message(6, 6, 'x')",
	'the attachment is not the current actor\'s' => "BEGIN; SELECT chatcrypt.act_as('alice'); SELECT chatcrypt.delete_attachment(11)",
	'the current actor may not remove somebody else from this chat' => "SET ROLE writer; $as_bob; SELECT chatcrypt.remove_participant(6, 'alice')",
	'the sender is not the current actor' => "$as_bob; SELECT chatcrypt.accept_wire_message(6, wire) FROM kept",
	'the attachment does not open' => 'SELECT chatcrypt.decrypt_attachment(1, 13, file) FROM kept',
	'attachment … is not complete' => 'SELECT chatcrypt.read_attachment(10)',
	'the attachments of chat … would be over its quota' => q{SELECT chatcrypt.put_attachment(2, 14, 'too long')},
	'search of chat … is off' => q{SELECT * FROM chatcrypt.search(1, 'x')},
	'the search index of chat … is not complete' => q{SELECT * FROM chatcrypt.search(3, 'x')},
	'drain_search_feed runs in READ COMMITTED transactions only' =>
	  'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT chatcrypt.drain_search_feed()');

my @rows = slurp_file('docs/troubleshooting.md') =~ /^\| (`.*?`) \|/mg;
cmp_ok(scalar(@rows), '>', 10, 'docs/troubleshooting.md has more than ten errors');
my ($commonest) = slurp_file('README.md') =~ /^## The five most common errors\n(.*?)^## /ms;
my @commonest = $commonest =~ /^\| (`.*?`) \|/mg;
is(scalar(@commonest), 5, 'README.md has the five most common errors');
foreach my $error (@commonest)
{
	ok(scalar(grep { $_ eq $error } @rows), "docs/troubleshooting.md has $error, as README.md has");
}
foreach my $error (map { /`([^`]+)`/g } @rows)
{
	my $how = $meets{$error};
	ok(defined $how, "there is a way to provoke: $error") or next;
	my $said = ref $how ? $how->() : said_to($how);
	my $pattern = join '.+', map { quotemeta } split /…/, $error, -1;
	like($said, qr/(?:ERROR|FATAL):  $pattern/, "provoked: $error") or diag($said);
}

$node->stop;
done_testing();
