# pg_dump and its kin: a restored database reads the same where the keys are the same, and reports
# which key is wrong where they are not.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of make_key);
use PostgreSQL::Test::Utils;
use Test::More;

my $source = Chatcrypt::Test->start('source');
make_key(keys_of($source), 'acme');
my $target = Chatcrypt::Test->start('target', extension => 0, keys => keys_of($source));
my $stranger = Chatcrypt::Test->start('stranger', extension => 0);
my $folder = PostgreSQL::Test::Utils::tempdir();

# Some of every kind of object.
$source->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN;
GRANT chatcrypt_writer, chatcrypt_reader TO app;
GRANT SELECT ON chatcrypt.chat TO app;
SELECT chatcrypt.create_tenant('acme', 'local:acme');
UPDATE chatcrypt.tenant SET rotate_on_removal = true WHERE tenant = 'acme';
SELECT chatcrypt.create_chats(array_agg(g)) FROM generate_series(1::bigint, 10) AS g;
SELECT chatcrypt.create_chat(11, ARRAY['alice', 'bob'], 'acme');
SELECT chatcrypt.create_chat(12, mode => 'conversation_key');
SELECT chatcrypt.create_chat(13, mode => 'e2ee');
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body)
	SELECT chatcrypt.to_uuid(g), chatcrypt.to_uuid(1 + g % 12), 'alice', 'body ' || g FROM generate_series(1, 240) AS g;
SELECT chatcrypt.rotate_chat(g) FROM generate_series(1::bigint, 11) AS g WHERE g % 2 = 1;
INSERT INTO chatcrypt.messages (message_id, chat_id, body, expires_at)
	SELECT chatcrypt.to_uuid(1000 + g), chatcrypt.to_uuid(1 + g % 12), nullif('again ' || g, 'again 7'), now() + interval '1 d' FROM generate_series(1, 60) AS g;
SELECT chatcrypt.shred_chat(10, 'irreversible');
SELECT chatcrypt.set_tenant_search('acme', 'blind', config => 'english', prefixes => 3);
SELECT chatcrypt.set_search(1, 'blind', config => 'english', bits => 48), chatcrypt.set_search(12, 'blind', prefixes => 2);
CALL chatcrypt.reindex_search(1);
CREATE SCHEMA app;
CREATE TABLE app.notes (id bigint PRIMARY KEY, chat_id bigint, note bytea);
INSERT INTO app.notes SELECT g, 1, chatcrypt.encrypt(1, g, 'note ' || g, 'notes') FROM generate_series(1, 20) AS g;
SELECT chatcrypt.register_envelopes('app.notes', 'note', 'chat_id', 'id', 'notes');
SELECT chatcrypt.seal_events();
SQL

# pg_dump leaves the rows of an extension's tables out, unless they are said to be configuration.
is(ask($source, q{SELECT string_agg(c.oid::regclass::text, ' ' ORDER BY c.oid) FROM pg_extension AS e JOIN pg_depend AS d ON d.refobjid = e.oid
	JOIN pg_class AS c ON c.oid = d.objid WHERE e.extname = 'chatcrypt' AND d.refclassid = 'pg_extension'::regclass
	AND d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND c.relkind IN ('r', 'p', 'S') AND NOT c.oid = ANY (e.extconfig)}),
	'chatcrypt.upkeep chatcrypt.verification_finding',
		'every table and sequence is dumped, except for hints that can be had again');

# What must be the same, byte for byte; and the plaintext of all that has one.
my $stored = q{SELECT md5(concat_ws('|', (SELECT d FROM chatcrypt.deployment d), (SELECT array_agg(t ORDER BY tenant) FROM chatcrypt.tenant t),
	(SELECT array_agg(c ORDER BY chat_id) FROM chatcrypt.chat c), (SELECT array_agg(p ORDER BY p) FROM chatcrypt.participant p), (SELECT array_agg(k ORDER BY dek_id) FROM chatcrypt.dek k),
	(SELECT array_agg(m ORDER BY message_id) FROM chatcrypt.sealed_message m), (SELECT array_agg(e ORDER BY event_id) FROM chatcrypt.key_event e),
	(SELECT array_agg(s ORDER BY chat_id) FROM chatcrypt.search_policy s), (SELECT array_agg(t ORDER BY message_id) FROM chatcrypt.search_token t),
	(SELECT array_agg(e ORDER BY seal_id) FROM chatcrypt.event_seal e), (SELECT array_agg(p ORDER BY relation::text) FROM chatcrypt.envelope_column p)))};
my $bodies = q{SELECT md5(string_agg(message_id || coalesce(body, '(null)'), '|' ORDER BY message_id)), count(body)
	FROM chatcrypt.messages WHERE chat_id <> chatcrypt.to_uuid(10)};
my $notes = q{SELECT string_agg(chatcrypt.decrypt(chat_id, id, note, 'notes'), '|' ORDER BY id) FROM app.notes};
my ($stored_there, $bodies_there, $notes_there) = map { ask($source, $_) } $stored, $bodies, $notes;
like($bodies_there, qr/\|274$/, 'every message that is not shredded reads at the source');

sub dump_to
{
	my ($file, @options) = @_;
	$source->command_ok([ 'pg_dump', '-f', "$folder/$file", @options, 'postgres' ], "pg_dump @options");
	return "$folder/$file";
}

# All that psql said of the script.
sub restore
{
	my ($node, $database, $file, @options) = @_;
	my ($out, $err);
	IPC::Run::run([ 'psql', '-X', '-q', '-d', $node->connstr($database), @options, '-f', $file ], '>', \$out, '2>', \$err);
	return $err;
}

sub same_as_at_source
{
	my ($node, $database, $how) = @_;
	is(ask($node, $stored, $database), $stored_there, "$how: every row is the same, and nothing was encrypted twice");
	is(ask($node, $bodies, $database), $bodies_there, "$how: every message reads the same");
	is(ask($node, $notes, $database), $notes_there,
		"$how: every envelope in another table reads the same");
	is(ask($node, q{SELECT count(*) FROM chatcrypt.search(1, 'bodies -again')}, $database), '20',
		"$how: search finds the same messages");
	is(ask($node, 'SELECT count(*) FROM chatcrypt.verify_events()', $database), '0',
		"$how: the history of keys is intact");
	my $dek = ask($node, q{SELECT max(dek_id) FROM chatcrypt.dek}, $database);
	is(ask($node, q{SELECT chatcrypt.create_chat(100) IS NOT NULL}, $database), 't', "$how: new chats can be made");
	is(ask($node, q{SELECT dek_id - } . $dek . q{, dek_version FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(100)}, $database), '1|1',
		"$how: the sequence of data keys goes on");
	is(ask($node, q{SELECT chatcrypt.rotate_chat(2), chatcrypt.rotate_chat(3), chatcrypt.remove_participant(11, 'bob')}, $database), '2|3|t',
		"$how: keys can be rotated");
	ask($node, q{SELECT chatcrypt.create_chat(101, tenant => 'acme')}, $database);
	$node->safe_psql($database, q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(101), 'of the restored')});
	is(ask($node, q{SELECT body FROM chatcrypt.search(101, 'restoring')}, $database), 'of the restored',
		"$how: the search policy of the tenant holds for new chats");
	$node->safe_psql($database, q{DELETE FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(101)});
	is(ask($node, $bodies, $database), $bodies_there,
		"$how: every message still reads after the changes");
	is(ask($node, q{SELECT chatcrypt.encrypt(10, 1, 'x')}, $database), ask($source, q{SELECT chatcrypt.encrypt(10, 1, 'x')}),
		"$how: a shredded chat stays shredded");
	is(ask($node, q{SELECT has_table_privilege('app', 'chatcrypt.chat', 'SELECT'), has_table_privilege('app', 'chatcrypt.dek', 'SELECT')}, $database),
		't|f', "$how: rights are those of the source") unless $how =~ /data-only/;
	is(ask($node, q{SELECT count(*) FROM pg_trigger WHERE tgrelid IN ('chatcrypt.dek'::regclass, 'chatcrypt.chat'::regclass, 'chatcrypt.participant'::regclass,
		'chatcrypt.search_policy'::regclass)
		AND tgname LIKE 'invalidate%' AND tgenabled <> 'A'}, $database), '0', "$how: the triggers that invalidate are always on");
	return;
}

# Roles first, then the database as plain SQL.
my $roles = "$folder/roles.sql";
$source->command_ok([ 'pg_dumpall', '--roles-only', '-f', $roles ], 'pg_dumpall --roles-only');
unlike(restore($target, 'postgres', $roles), qr/ERROR:(?!  role "\w+" already exists)/, 'roles are restored');
is(ask($target, q{SELECT count(*) FROM pg_auth_members WHERE member = 'app'::regrole}), '2',
	'memberships of roles are restored');
my $plain = dump_to('plain.sql');
is(restore($target, 'postgres', $plain, '-1', '-v', 'ON_ERROR_STOP=1'), '',
	'psql restores a plain dump without any message');
same_as_at_source($target, 'postgres', 'psql');

# Archives, restored by several jobs at once, which ignore the order that foreign keys want.
my $archive = dump_to('archive', '-Fc');
$target->safe_psql('postgres', 'CREATE DATABASE parallel; CREATE DATABASE data_only; CREATE DATABASE taken; CREATE DATABASE parts');
{
	local $ENV{PGOPTIONS} = '-c session_replication_role=replica';
	$target->command_ok([ 'pg_restore', '-j', '2', '-e', '-d', $target->connstr('parallel'), $archive ], 'pg_restore -j 2');
}
same_as_at_source($target, 'parallel', 'pg_restore');

# Data alone, into an extension that was made before.
$target->safe_psql('data_only', 'CREATE EXTENSION chatcrypt; CREATE SCHEMA app; CREATE TABLE app.notes (id bigint PRIMARY KEY, chat_id bigint, note bytea)');
is(restore($target, 'data_only', dump_to('data.sql', '--data-only'), '-1', '-v', 'ON_ERROR_STOP=1'), '',
	'psql restores a dump of data alone');
same_as_at_source($target, 'data_only', '--data-only');

# Where a chat was made before, nothing is mixed up.
$target->safe_psql('taken', 'CREATE EXTENSION chatcrypt; SELECT chatcrypt.create_chat(1); CREATE SCHEMA app; CREATE TABLE app.notes (id bigint PRIMARY KEY, chat_id bigint, note bytea)');
my $before = ask($target, $stored, 'taken');
like(restore($target, 'taken', "$folder/data.sql", '-1', '-v', 'ON_ERROR_STOP=1'),
	qr/ERROR:  duplicate key value violates unique constraint "(tenant|deployment)_pkey"/,
	'a restore into a database that has chats is refused');
is(ask($target, $stored, 'taken'), $before,
	'a database that refused a restore keeps its own chats');

# Partial dumps: a schema alone leaves the keys behind, unless the extension is named too.
is(restore($target, 'parts', dump_to('part.sql', '-n', 'app')), '',
	'a dump of one schema by pg_dump -n restores');
like(ask($target, $notes, 'parts'), qr/schema "chatcrypt" does not exist/,
	'a dump of one schema leaves the keys behind');
$target->safe_psql('parts', 'DROP SCHEMA app CASCADE');
is(restore($target, 'parts', dump_to('parts.sql', '-n', 'app', '-n', 'chatcrypt', '-e', 'chatcrypt')), '',
	'a dump by pg_dump -n -n -e restores');
is(ask($target, $notes, 'parts'), $notes_there,
	'a dump that names the extension takes the keys along');

# With another master key of the same name: an error that names it, and not one byte changes.
make_key(keys_of($stranger), 'acme');
restore($stranger, 'postgres', $roles);
is(restore($stranger, 'postgres', $plain, '-1', '-v', 'ON_ERROR_STOP=1'), '',
	'a cluster with another key restores the dump');
my (undef, undef, $errors) = $stranger->psql('postgres', $bodies);
like($errors, qr/ERROR:  could not unwrap the data key of chat .* version \d+\n.*DETAIL:  The key service of "local:\w+" answered: /s,
	'a cluster with another key reads nothing, and the error names the key');
unlike($errors, qr/body|again/, 'the error of a wrong key shows nothing of the messages');
like(ask($stranger, q{SELECT chatcrypt.encrypt(1, 1, 'x')}), qr/could not unwrap the data key/,
	'a cluster with another key seals nothing');
is(ask($stranger, $stored), $stored_there, 'a cluster with another key re-encrypts nothing');
is(ask($stranger, q{SELECT chatcrypt.try_decrypt(1, 1, '\x01') IS NULL}), 't',
	'try_decrypt() of bytes that are no envelope needs no key');
like(ask($stranger, q{SET chatcrypt.on_decrypt_error = 'null'; } . $bodies), qr/could not unwrap/, 'a wrong key is never shown as NULL');

# To restore over a database that is in use, use DROP DATABASE, not DROP EXTENSION.
my $clean = dump_to('clean.sql', '--clean');
like(restore($target, 'parallel', $clean), qr/ERROR:  cannot drop chatcrypt while it holds data keys/,
	'a restore of pg_dump --clean does not drop live keys');
is(ask($target, $bodies, 'parallel'), $bodies_there,
	'every message reads after a restore of pg_dump --clean was refused');

$_->stop foreach $source, $target, $stranger;
done_testing();
