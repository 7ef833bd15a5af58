# What docs/erasure.md promises, held against a key service that trims the versions of a key: a
# dump from before the erasure opens nothing afterwards, and what was to survive does.
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
	command_ok([ 'pg_dump', '--file', $file, $node->connstr('postgres') ], "a dump: $name");
	return;
}

# What of the three chats reads in a database that was made of a dump.
sub readable_in
{
	my ($name) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $node->basedir . "/$name.sql", $node->connstr($name) ], "restored: $name");
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
is(readable('postgres'), '1 2 3', 'all is readable');

# A chat is shredded: here it is gone, in the dump it is not.
$node->safe_psql('postgres', q{SELECT chatcrypt.shred_chat(1, 'irreversible')});
is(readable('postgres'), '2 3', 'what is shredded does not read');
is(readable_in('before'), '1 2 3', 'a dump from before brings it back, as long as the key service has the key version');
$node->safe_psql('postgres', 'DROP DATABASE before');

# A new version of the tenant's key, the survivors under it, the old one trimmed.
$bao->cli('write', '-f', 'transit/keys/acme/rotate');
is(ask($node, q{CALL chatcrypt.rewrap(tenant => 'acme')}), '1|0', 'the survivor is re-wrapped');
is(ask($node, "SELECT string_agg(key_version::text, ' ') FROM chatcrypt.kms_key_usage() WHERE kms_key = '$acme'"),
	'2', 'nothing needs the old version');
dump_to('after');
$bao->cli('write', 'transit/keys/acme/config', 'min_decryption_version=2', 'min_encryption_version=2');
$bao->cli('write', 'transit/keys/acme/trim', 'min_available_version=2');
$node->restart;
is(readable('postgres'), '2 3', 'the survivors read on, with cold caches too');
is(readable_in('before'), '3', 'of the dump from before, nothing of the tenant opens');
is(readable_in('after'), '2 3', 'a dump from after the re-wrapping is whole');

# A tenant as a whole: its key.
$bao->cli('write', 'transit/keys/acme/config', 'deletion_allowed=true');
$bao->cli('delete', 'transit/keys/acme');
$node->restart;
is(readable('postgres'), '3', 'without its key the tenant is gone');
is(readable('after'), '3', 'from dumps as well');
is(ask($node, q{SELECT DISTINCT split_part(reason, ':', 1) FROM chatcrypt.verify_chat(2)}), 'key not unwrapped',
	'verification says why');

# The key goes with the last message that needs it, and with it what vacuum and WAL still hold.
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
	"1|destroyed\n2|active", 'by policies alone, the key went with its last message');
like(ask($node, "SELECT chatcrypt.decrypt(4, 4, '$envelope')"), qr/version 1 was destroyed/, 'and what was kept of it elsewhere does not open');

$node->stop;
$bao->stop;
done_testing();
