# DROP EXTENSION destroys no live keys unless allow_drop is on; and sessions that outlive the
# extension.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('drop');
my $refused = qr/ERROR:  cannot drop chatcrypt while it holds data keys/;
my $read = 'SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(1)';

sub new_chat
{
	my ($body) = @_;
	$node->safe_psql('postgres', <<"SQL");
SELECT chatcrypt.create_chat(1);
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), '$body');
SQL
	return;
}

# Without keys, nothing can be lost.
is(ask($node, 'DROP EXTENSION chatcrypt; CREATE EXTENSION chatcrypt'), '', 'an unused extension can be dropped');

# With keys, every way to drop the extension is closed.
new_chat('kept');
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE dek (state text);
CREATE TABLE app_keys AS SELECT * FROM chatcrypt.dek;
SQL
like(ask($node, 'DROP EXTENSION chatcrypt'), $refused,
	'DROP EXTENSION is refused while there are keys');
like(ask($node, 'DROP EXTENSION chatcrypt CASCADE'), $refused,
	'DROP EXTENSION CASCADE is refused while there are keys');
like(ask($node, 'DROP SCHEMA chatcrypt CASCADE'), $refused,
	'DROP SCHEMA is refused while there are keys');
like(ask($node, 'DROP OWNED BY CURRENT_USER CASCADE'), qr/cannot drop|required by the database system/,
	'DROP OWNED is refused while there are keys');
like(ask($node, 'DROP TABLE chatcrypt.dek'), qr/cannot drop table chatcrypt\.dek because extension chatcrypt requires it/,
	'DROP TABLE of a table of the extension is refused');
like(ask($node, 'SET ROLE pg_read_all_data; SET chatcrypt.allow_drop = on'), qr/permission denied to set parameter/,
	'a role that is no superuser cannot set allow_drop');
is(ask($node, 'DROP TABLE dek, app_keys'), '',
	'tables of the same name in other schemas can be dropped');
is(ask($node, $read), 'kept', 'a message reads after the refused statements');
like(ask($node, 'BEGIN; DELETE FROM chatcrypt.dek; DROP EXTENSION chatcrypt; ROLLBACK'), qr/^$/,
	'DROP EXTENSION works after the keys are deleted');
is(ask($node, $read), 'kept', 'a message reads after the deletion and the DROP were rolled back');

# Destroyed keys are no loss.
my $other = session($node);
my $same = session($node);
is(answer($_, $read), 'kept', 'a session reads before the chat is shredded') foreach $other, $same;
is(ask($node, q{SELECT chatcrypt.shred_chat(1, 'irreversible')}), '1', 'the chat is shredded');
is(answer($same, 'DROP EXTENSION chatcrypt'), '',
	'DROP EXTENSION works after all keys are destroyed');
like(answer($_, q{SELECT chatcrypt.decrypt(1, 1, '\x01')}), qr/chatcrypt.* does not exist/,
	'functions of a dropped extension are gone in sessions that used them') foreach $other, $same;
is(answer($same, 'CREATE EXTENSION chatcrypt'), '', 'the extension can be made again');
like(answer($_, 'SELECT chatcrypt.encrypt(1, 1, $$x$$)'), qr/chat .* does not exist/,
	'a new extension has no chats of the old one') foreach $other, $same;
new_chat('second life');
is(answer($_, $read), 'second life', 'sessions from before find the new tables') foreach $other, $same;
is(answer($_, q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'more')}), '',
	'sessions from before write the new tables')
  foreach $other, $same;
is(answer($_, q{UPDATE chatcrypt.messages SET body = 'same' WHERE chat_id = chatcrypt.to_uuid(1)}), '',
	'sessions from before change rows of the new tables')
  foreach $other, $same;
is(answer($other, 'SELECT count(*), min(body) FROM chatcrypt.messages'), '3|same',
	'sessions from before read what they wrote');

# A session that waits for a DROP and then finds no extension.
answer($same, 'BEGIN; SET LOCAL chatcrypt.allow_drop = on; DROP EXTENSION chatcrypt');
start($other, 'SELECT chatcrypt.encrypt(2, 1, $$x$$)');
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'}),
	'a session waits for DROP EXTENSION');
answer($same, 'COMMIT');
like(outcome($other), qr/ERROR:  (schema "chatcrypt" does not exist|relation chatcrypt\.\w+ does not exist)/,
	'the session that waited for DROP EXTENSION gets a clear error');
is(ask($node, q{SELECT to_regclass('chatcrypt.dek') IS NULL}), 't',
	'allow_drop allows DROP EXTENSION with live keys');

# Keys of a dropped extension leave the shared cache.
my $entries = 'SELECT entries FROM chatcrypt.cache_status';
$node->safe_psql('postgres', 'CREATE EXTENSION chatcrypt; CREATE DATABASE short_lived');
is(ask($node, $entries), '0', 'no key of the extension that was dropped is cached');
$node->safe_psql('short_lived', 'CREATE EXTENSION chatcrypt; SELECT chatcrypt.create_chat(1), chatcrypt.create_chat(2)');
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chat(3)');
is(ask($node, $entries), '3', 'keys of two databases are cached');
$node->safe_psql('postgres', 'BEGIN; SET LOCAL chatcrypt.allow_drop = on; DROP EXTENSION chatcrypt; ROLLBACK');
is(ask($node, $entries), '3', 'a DROP EXTENSION that is rolled back leaves the cached keys');
$node->safe_psql('postgres', 'DROP DATABASE short_lived');
is(ask($node, $entries), '1', 'DROP DATABASE evicts its own keys and no others');
$node->safe_psql('postgres', 'SET chatcrypt.allow_drop = on; DROP EXTENSION chatcrypt');

# The roles remain, since they belong to the cluster.
is(ask($node, q{SELECT count(*) FROM pg_roles WHERE rolname LIKE 'chatcrypt%'}), '6',
	'roles remain after DROP EXTENSION');
is(ask($node, 'CREATE EXTENSION chatcrypt'), '',
	'existing roles do not hinder another CREATE EXTENSION');

# The schema may exist already, but not owned by a role that could put functions beside ours.
$node->safe_psql('postgres', 'CREATE DATABASE theirs; CREATE ROLE mallory; CREATE ROLE dba SUPERUSER');
$node->safe_psql('theirs', 'CREATE SCHEMA chatcrypt AUTHORIZATION mallory');
is(ask($node, 'CREATE EXTENSION chatcrypt', 'theirs'), 'ERROR:  schema chatcrypt belongs to somebody else',
	'CREATE EXTENSION is refused in a schema that belongs to mallory');
$node->safe_psql('theirs', 'ALTER SCHEMA chatcrypt OWNER TO dba');
is(ask($node, 'CREATE EXTENSION chatcrypt', 'theirs'), '',
	'CREATE EXTENSION works in a schema of another superuser, as a dump may make it');

$_->quit foreach $other, $same;
$node->stop;
done_testing();
