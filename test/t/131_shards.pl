# Shards as in docs/scaling.md: one cluster makes chats and keys; nodes subscribe to the tables of
# keys, and hold the application's own tables of messages.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of wait_until);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $owner = Chatcrypt::Test->start('owner', streaming => 'logical');
my $node = Chatcrypt::Test->start('node', keys => keys_of($owner), conf => "wal_retrieve_retry_interval = '100ms'\n");

# The statements of the page, unchanged.
my ($shards) = slurp_file('docs/scaling.md') =~ /^## Shards\n(.*?)^## /ms;
my ($publish, $subscribe) = $shards =~ /^```sql\n(.*?)^```/msg;
my $source = $owner->connstr . ' dbname=postgres';
like($subscribe, qr/CONNECTION '[^']*'/, 'the page has a place for the address');
$subscribe =~ s/CONNECTION '[^']*'/CONNECTION '$source'/;

sub apply
{
	$owner->wait_for_catchup('chatcrypt_keys');
	return;
}

sub decrypted
{
	my ($chat) = @_;
	return "SELECT chatcrypt.decrypt(chat_id, id, note) FROM notes WHERE chat_id = $chat ORDER BY id";
}

$owner->safe_psql('postgres', q{SELECT chatcrypt.create_chats(array_agg(g), participants => ARRAY['alice'])
	FROM generate_series(1::bigint, 5) AS g});
$owner->safe_psql('postgres', $publish);
$node->safe_psql('postgres', $subscribe);
$node->wait_for_subscription_sync($owner, 'chatcrypt_keys');
my $everything = q{SELECT (SELECT string_agg(t::text, '|' ORDER BY t::text) FROM chatcrypt.%s AS t)};
sub is_the_same
{
	my ($when) = @_;
	foreach my $table (qw(deployment tenant chat participant dek))
	{
		is(ask($node, sprintf($everything, $table)), ask($owner, sprintf($everything, $table)), "$when: $table is the same on the node");
	}
	return;
}
is_the_same('at the start');

# A table of messages on the node.  Its rows are sealed and opened there, with keys that were made
# elsewhere.
$node->safe_psql('postgres', 'CREATE TABLE notes (chat_id bigint, id bigint, note bytea, PRIMARY KEY (chat_id, id))');
my $idle = session($node);
is(answer($idle, q{INSERT INTO notes SELECT g, 1, chatcrypt.encrypt(g, 1, 'note ' || g) FROM generate_series(1, 5) AS g}), '',
	'a row is sealed in the INSERT on the node');
is(answer($idle, decrypted($_)), "note $_", "chat $_ opens on the node") foreach 1 .. 5;
my $envelope = answer($idle, 'SELECT note FROM notes WHERE chat_id = 1');
is(ask($owner, "SELECT chatcrypt.decrypt(1, 1, '$envelope')"), 'note 1',
	'what a node sealed opens on the owner of the keys');
$envelope = ask($owner, q{SELECT chatcrypt.encrypt(2, 2, 'from the owner')});
is(answer($idle, "SELECT chatcrypt.decrypt(2, 2, '$envelope')"), 'from the owner',
	'what the owner of the keys sealed opens on a node');
is(answer($idle, q{UPDATE notes SET note = (SELECT chatcrypt.encrypt(chat_id, id, 'edited ' || chat_id)) WHERE chat_id <= 2}), '',
	'an UPDATE seals in a sub-select on the node');
is(answer($idle, decrypted($_)), "edited $_",
	"the UPDATE sealed each row by itself: chat $_") foreach 1 .. 2;

# Changes to keys arrive in sessions that used the keys before.
$owner->safe_psql('postgres', q{SELECT chatcrypt.create_tenant('acme', 'local:main'); SELECT chatcrypt.create_chat(10, tenant => 'acme')});
apply();
is(answer($idle, q{SELECT chatcrypt.decrypt(10, 1, chatcrypt.encrypt(10, 1, 'new'))}), 'new',
	'a new chat of a new tenant arrives on the node');
$owner->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(2)');
apply();
is(answer($idle, q{SELECT chatcrypt.dek_version(chatcrypt.encrypt(2, 1, 'x'))}), '2',
	'a rotation arrives on the node');
is(answer($idle, decrypted(2)), 'edited 2', 'the older key still opens on the node');
$owner->safe_psql('postgres', q{UPDATE chatcrypt.chat SET mode = 'e2ee' WHERE chat_id = chatcrypt.to_uuid(5)});
apply();
like(answer($idle, q{SELECT chatcrypt.encrypt(5, 2, 'x')}), qr/takes no plaintext/,
	'a change of mode arrives on the node');

is(answer($idle, decrypted(3)), 'note 3', 'chat 3 is warm on the node');
$owner->safe_psql('postgres', q{SELECT chatcrypt.shred_chat(3, 'irreversible')});
my $shredded = time;
ok(wait_until(10, sub { answer($idle, decrypted(3)) =~ /^ERROR:  the data key of chat .* was destroyed$/ }),
	'a shred arrives on the node without further action');
note(sprintf 'a shred was held on the node %.3f s after its commit', time - $shredded);
like(ask($node, decrypted(3)), qr/was destroyed/, 'a shred holds in new sessions of the node');
is_the_same('at the end');
is(ask($node, 'SELECT count(*) FROM chatcrypt.key_event'), '0',
	'the history of keys stays on the owner of the keys');

# The actor belongs to a session: a statement that a planner sends to a node runs without one.
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; GRANT chatcrypt_writer, chatcrypt_reader TO app; GRANT SELECT ON notes TO app');
sub said_to_app
{
	my ($sql) = @_;
	my (undef, $rows, $errors) = $node->psql('postgres', $sql, extra_params => [ '-U', 'app' ]);
	return $errors =~ /(ERROR:.*)/ ? $1 : $rows;
}
sub as_actor
{
	my ($actor, $sql) = @_;
	return said_to_app("BEGIN; SELECT chatcrypt.act_as('$actor') \\g /dev/null\n$sql");
}
my $no_participant = qr/^ERROR:  the current actor is not a participant of this chat/;
is(said_to_app(decrypted(1)), 'edited 1', 'without an actor every chat opens on a node');
my ($require) = $shards =~ /`(ALTER ROLE app SET [^`]+)`/;
$node->safe_psql('postgres', $require);
like(said_to_app(decrypted(1)), qr/^ERROR:  this transaction has no actor/,
	'no chat opens without an actor where the node requires one');
like(said_to_app(q{SELECT chatcrypt.encrypt(1, 1, 'x')}), qr/^ERROR:  this transaction has no actor/,
	'nothing is sealed without an actor where the node requires one');
is(as_actor('alice', decrypted(1)), 'edited 1', 'a session on the node that names a participant reads');
like(as_actor('bob', decrypted(1)), $no_participant,
	'a session on the node that names another actor does not read');
$owner->safe_psql('postgres', q{SELECT chatcrypt.remove_participant(1, 'alice')});
apply();
like(as_actor('alice', decrypted(1)), $no_participant,
	'a participant that was removed on the owner of the keys does not read on the node');

# A chat that a node made itself conflicts with the one that arrives, until it is deleted there.
$node->safe_psql('postgres', q{SELECT setval('chatcrypt.dek_dek_id_seq', 1000); SELECT chatcrypt.create_chat(99)});
$owner->safe_psql('postgres', 'SELECT chatcrypt.create_chat(99), chatcrypt.create_chat(100)');
# From PostgreSQL 18 on, this is reported as a conflict.
my $refused = qr/duplicate key value violates unique constraint "chat_pkey"|conflict detected on relation "chatcrypt.chat": conflict=insert_exists/;
ok(wait_until(30, sub { slurp_file($node->logfile) =~ $refused }),
	'a chat that a node made itself stops the subscription');
like(answer($idle, q{SELECT chatcrypt.encrypt(100, 1, 'x')}), qr/does not exist/,
	'chats that were made later do not arrive while the subscription is stopped');
$node->safe_psql('postgres', 'DELETE FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(99)');
apply();
is(answer($idle, "SELECT chatcrypt.decrypt($_, 1, chatcrypt.encrypt($_, 1, 'x'))"), 'x',
	"after the node's own chat is deleted, chat $_ arrives")
  foreach 99, 100;

$idle->quit;
$_->stop foreach $node, $owner;
done_testing();
