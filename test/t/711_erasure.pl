# What docs/erasure.md promises, tested with a key service that trims the versions of a key: a dump
# from before the erasure opens nothing afterwards, and what was to survive does open.
use strict;
use warnings;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $acme = $bao->add_key('acme');
my $node = Chatcrypt::Test->start('erasure', bao => $bao);

$node->safe_psql('postgres', <<"SQL");
SELECT chatcrypt.create_tenant('acme', '$acme');
SELECT chatcrypt.create_chats(ARRAY[1, 2]::bigint[], tenant => 'acme');
SELECT chatcrypt.create_chat(3);
INSERT INTO chatcrypt.messages (message_id, chat_id, body)
	SELECT chatcrypt.to_uuid(i), chatcrypt.to_uuid(i), 'body ' || i FROM generate_series(1, 3) AS i;
SQL

sub dump_to
{
	my ($name) = @_;
	my $file = $node->basedir . "/$name.sql";
	command_ok([ 'pg_dump', '--file', $file, $node->connstr('postgres') ],
		"the database is dumped: $name");
	return;
}

# Which of the three chats can be read in a database that was restored from a dump.
sub readable_in
{
	my ($name) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $node->basedir . "/$name.sql", $node->connstr($name) ],
		"the dump is restored: $name");
	return readable($name);
}

sub readable
{
	my ($database) = @_;
	my @chats = grep {
		ask($node, "SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid($_)", $database) eq "body $_"
	} 1 .. 3;
	return join ' ', @chats;
}

dump_to('before');
is(readable('postgres'), '1 2 3', 'all chats can be read before the erasure');

# A chat is shredded: it is gone in the database, but not in the dump.
$node->safe_psql('postgres', q{SELECT chatcrypt.shred_chat(1, 'irreversible')});
is(readable('postgres'), '2 3', 'a shredded chat cannot be read');
is(readable_in('before'), '1 2 3',
	'a dump from before brings the chat back, as long as the key service has the key version');
$node->safe_psql('postgres', 'DROP DATABASE before');

# A new version of the key of the tenant; the surviving chat is re-wrapped, and the old version
# trimmed.
$bao->cli('write', '-f', 'transit/keys/acme/rotate');
is(ask($node, q{CALL chatcrypt.rewrap(tenant => 'acme')}), '1|0',
	'the surviving chat of the tenant is re-wrapped');
is(ask($node, "SELECT string_agg(key_version::text, ' ') FROM chatcrypt.kms_key_usage() WHERE kms_key = '$acme'"),
	'2', 'no data key needs the old version of the key');
dump_to('after');
$bao->cli('write', 'transit/keys/acme/config', 'min_decryption_version=2', 'min_encryption_version=2');
$bao->cli('write', 'transit/keys/acme/trim', 'min_available_version=2');
$node->restart;
is(readable('postgres'), '2 3', 'the surviving chats can be read with cold caches');
is(readable_in('before'), '3', 'no chat of the tenant can be read from the dump from before');
is(readable_in('after'), '2 3',
	'every surviving chat can be read from a dump from after the re-wrapping');

# A whole tenant is erased by its key.
$bao->cli('write', 'transit/keys/acme/config', 'deletion_allowed=true');
$bao->cli('delete', 'transit/keys/acme');
$node->restart;
is(readable('postgres'), '3', 'no chat of the tenant can be read without its key');
is(readable('after'), '3', 'no chat of the tenant can be read from a dump without its key');
is(ask($node, q{SELECT DISTINCT split_part(reason, ':', 1) FROM chatcrypt.verify_chat(2)}), 'key not unwrapped',
	'verify_chat() says why a chat does not open');

# A key is destroyed with the last message that needs it, and so is what dead rows and WAL still
# hold.
$node->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chat(4);
UPDATE chatcrypt.chat SET retention = '1 day', rotate_after = '1 hour', external_envelopes = false WHERE chat_id = chatcrypt.to_uuid(4);
INSERT INTO chatcrypt.messages (message_id, chat_id, body, created_at)
	VALUES (chatcrypt.to_uuid(4), chatcrypt.to_uuid(4), 'short-lived', now() - interval '23 hours 59 minutes 59 seconds');
UPDATE chatcrypt.dek SET valid_from = now() - interval '2 hours', created_at = now() - interval '2 hours' WHERE chat_id = chatcrypt.to_uuid(4);
SQL
my $envelope = $node->safe_psql('postgres', 'SELECT encrypted_message FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(4)');
$node->safe_psql('postgres', 'SELECT pg_sleep(1.1)');
$node->safe_psql('postgres', "CALL chatcrypt.$_") foreach 'rotate_due()', 'apply_retention()', 'purge_unused_keys()';
is($node->safe_psql('postgres', 'SELECT dek_version, state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(4) ORDER BY 1'),
	"1|destroyed\n2|active", 'by policies alone, a key is destroyed with its last message');
like(ask($node, "SELECT chatcrypt.decrypt(4, 4, '$envelope')"), qr/version 1 was destroyed/,
	'an envelope that was kept elsewhere does not open after its key was destroyed');

$node->stop;
$bao->stop;
done_testing();
