# Keys that clients hold, with clients: tweetnacl and libsodium in node, in both directions; the
# examples of docs/client-keys.md, unchanged; a system that migrates; rotation as clients are
# notified of it; participants that were removed; a standby; and the traces of a key that was handed
# out.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use IPC::Run ();
use JSON::PP ();
use MIME::Base64 qw(decode_base64 encode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $json = JSON::PP->new->utf8->canonical;
my @libraries = qw(tweetnacl libsodium);

# The client, as in the docs ---------------------------------------------------------------

my %examples;
my $page = slurp_file('docs/client-keys.md');
push @{ $examples{$1} }, $2 while $page =~ /^```(js|sql)\n(.*?)^```$/msg;
my $folder = PostgreSQL::Test::Utils::tempdir();
append_to_file("$folder/example.js", $examples{js}[0] . "\nmodule.exports = { open, seal };\n");

my ($requests, $answers, $complaints) = ('', '', '');
my $client = eval { IPC::Run::start([ 'node', 'test/clients/driver.js', "$folder/example.js" ],
		'<', \$requests, '>', \$answers, '2>', \$complaints, IPC::Run::timeout(180)) };
my $has_libraries = $client && defined client({ do => 'derive', master => '00', salt => '', info => '' })->{value};
if (!$has_libraries)
{
	die "node and its libraries are missing, and CI must have them\n$complaints" if ($ENV{CI} // '') eq 'true';
	plan(skip_all => 'no node with the libraries of test/clients: NODE_PATH names their folder');
}

# Sends a request and returns the answer; undefined where there is no client.
sub client
{
	my ($request) = @_;
	$answers = '';
	$requests .= $json->encode($request) . "\n";
	eval { $client->pump until $answers =~ /\n/; 1 } or return {};
	return $json->decode($answers);
}

is(scalar @{ $examples{js} }, 1, 'the docs have an example of a client');
is(scalar @{ $examples{sql} }, 6, 'the docs have examples of a service and of a migration');

# Servers ----------------------------------------------------------------------------------

my $node = Chatcrypt::Test->start('clients', streaming => 1, conf => "autovacuum = off\n");
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE service LOGIN; GRANT chatcrypt_writer, chatcrypt_reader TO service;
CREATE ROLE keys LOGIN; GRANT chatcrypt_keyholder TO keys;
SQL

# As the service, on behalf of an actor.
sub as_actor
{
	my ($actor, $sql) = @_;
	return ask($node, "SET ROLE service; BEGIN; SELECT chatcrypt.act_as('$actor') \\g /dev/null\n$sql; COMMIT");
}

sub literal
{
	my ($value) = @_;
	return "'" . $value =~ s/'/''/gr . "'";
}

sub wire_literal { return literal($json->encode($_[0])) . '::jsonb'; }

# {version => key in base64}
sub keys_for
{
	my ($actor, $chat, @versions) = @_;
	@versions = ('NULL') if !@versions;
	return { map { split /\|/, $_ } map { as_actor($actor, "SELECT key_version, translate(encode(key, 'base64'), E'\\n', '') FROM chatcrypt.conversation_key('$chat'::uuid, $_)") } @versions };
}

# The examples run unchanged, in a session of a role that has the rights they need.
sub run_example
{
	my ($sql, %variables) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', (map { ('-v', "$_=$variables{$_}") } sort keys %variables),
			'-d', $node->connstr('postgres') . ' user=service' ], '<', \$sql, '>', \$out, '2>', \$err);
	is($err, '', 'an example of the docs runs without an error');
	return split /\n/, $out;
}

my ($chat) = grep { $_ ne '' } run_example($examples{sql}[0] . '\echo :chat');
my ($key, @wires) = grep { $_ ne '' } run_example($examples{sql}[1], chat => $chat);
my %keys = (split /\|/, $key);
is(scalar @wires, 1, 'the service returns a key and a message');
my $wire = $json->decode($wires[0]);
is(join(' ', sort keys %$wire), 'chat_id content created_at encrypted encrypted_payload key_version message_id nonce sender',
	'a wire message has the documented fields');
is($wire->{content}, '', 'no plaintext is on the wire');
is(client({ do => 'open', with => 'tweetnacl', wire => $wire, keys => \%keys })->{value}, 'Lunch at noon?',
	'the client of the docs opens a message');
my $sealed = client({ do => 'seal', with => 'tweetnacl', text => 'Half past.', version => 1, keys => \%keys })->{value};
my @ids = run_example($examples{sql}[2], chat => $chat, wire => $json->encode($sealed));
is(ask($node, "SELECT sender, body FROM chatcrypt.messages WHERE message_id = '$ids[-1]'"), 'bob|Half past.',
	'the server opens what the client of the docs sealed');

# Both ways, with each library -------------------------------------------------------------

my %texts = (
	'an empty text' => '',
	'a word' => 'word',
	'one byte less than a block' => 'x' x 63,
	'more letters than ASCII has' => "gr\x{fc}\x{df}e \x{1f44b}\x{301} \x{202e}",
	'all that JSON escapes' => join('', map { chr } 1 .. 39, 92, 127, 0x2028),
	'100 kB' => 'long ' x 20000);
my $number = 100;
foreach my $library (@libraries)
{
	foreach my $what (sort keys %texts)
	{
		my $text = $texts{$what};
		my $utf8 = $text;
		utf8::encode($utf8);
		$number++;
		$node->safe_psql('postgres', "INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid($number), '$chat', convert_from('\\x" . unpack('H*', $utf8) . "', 'UTF8'))");
		my $from_server = $json->decode(as_actor('alice', "SELECT chatcrypt.wire_message('$chat'::uuid, $number)"));
		is(client({ do => 'open', with => $library, wire => $from_server, keys => \%keys })->{value}, $text, "$library opens $what");

		my $from_client = client({ do => 'seal', with => $library, text => $text, version => 1, keys => \%keys })->{value};
		my $id = as_actor('alice', "SELECT chatcrypt.accept_wire_message('$chat'::uuid, " . wire_literal($from_client) . ')');
		is(ask($node, "SELECT encode(convert_to(body, 'UTF8'), 'hex') FROM chatcrypt.messages WHERE message_id = '$id'") =~ s/\s//gr, unpack('H*', $utf8), "the server opens $what of $library");
		my $again = $json->decode(as_actor('alice', "SELECT chatcrypt.wire_message('$chat'::uuid, '$id'::uuid)"));
		is("$again->{nonce} $again->{encrypted_payload}", "$from_client->{nonce} $from_client->{encrypted_payload}",
			"the server stores just the bytes of $library for $what");
	}

	# Messages that a client sealed wrongly, or that were damaged.
	my $good = client({ do => 'seal', with => $library, text => 'good', version => 1, keys => \%keys })->{value};
	my $does_not_open = 'ERROR:  the message does not open';
	foreach my $field (qw(nonce encrypted_payload))
	{
		my $bytes = decode_base64($good->{$field});
		my @refused = grep { as_actor('alice', "SELECT chatcrypt.accept_wire_message('$chat'::uuid, " . wire_literal({ %$good, $field => $_ }) . ')') eq $does_not_open }
			map { my $damaged = $bytes; substr($damaged, $_, 1) ^= "\1"; encode_base64($damaged, '') } 0 .. length($bytes) - 1;
		is(scalar @refused, length($bytes), "$library: the server refuses each damaged byte of $field");
	}
	my $other = client({ do => 'seal', with => $library, text => 'x', version => 1, keys => { 1 => encode_base64('k' x 32, '') } })->{value};
	is(as_actor('alice', "SELECT chatcrypt.accept_wire_message('$chat'::uuid, " . wire_literal($other) . ')'), $does_not_open,
		"$library: the server refuses what another key sealed");
	my $damaged = $json->decode(as_actor('alice', "SELECT chatcrypt.wire_message('$chat'::uuid, $number)"));
	substr($damaged->{encrypted_payload}, 30, 1) =~ tr/A-Za-z/B-ZAb-za/ or substr($damaged->{encrypted_payload}, 30, 1) = 'A';
	ok(defined client({ do => 'open', with => $library, wire => $damaged, keys => \%keys })->{error}, "$library: the client refuses a damaged message");
}

# A system that moves in -------------------------------------------------------------------

my $master = join '', map { sprintf '%02x', $_ } 65 .. 96;
my @conversations = split /\n/, ask($node, 'SELECT gen_random_uuid() FROM generate_series(1, 3)');
$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA old;
CREATE TABLE old.conversation (id uuid);
CREATE TABLE old.member (conversation_id uuid, name text);
CREATE TABLE old.message (id uuid, conversation_id uuid, sender text, nonce text, encrypted_payload text, sent_at timestamptz);
GRANT USAGE ON SCHEMA old TO service; GRANT SELECT ON ALL TABLES IN SCHEMA old TO service;
GRANT chatcrypt_admin TO service;
SQL
my %old_key;
foreach my $conversation (@conversations)
{
	$old_key{$conversation} = client({ do => 'derive', master => $master, salt => '', info => $conversation })->{value};
	my $old = client({ do => 'seal', with => 'libsodium', text => "of $conversation", version => 'old', keys => { old => $old_key{$conversation} } })->{value};
	$node->safe_psql('postgres', "INSERT INTO old.conversation VALUES ('$conversation'); INSERT INTO old.member VALUES ('$conversation', 'alice');
		INSERT INTO old.message VALUES (gen_random_uuid(), '$conversation', 'alice', '$old->{nonce}', '$old->{encrypted_payload}', '2020-02-02 20:20:20Z')");
}
run_example($examples{sql}[3]);
run_example("PREPARE import (bytea) AS $examples{sql}[4] EXECUTE import ('\\x$master');");
# Writing to the table instead of the view is for a superuser.
my $superuser = ask($node, 'SELECT current_user');
like(ask($node, "SET ROLE service; $examples{sql}[5]"), qr/permission denied for table sealed_message/, 'the role of an application may not write to sealed_message');
run_example("\\connect - $superuser\n$examples{sql}[5]");
foreach my $conversation (@conversations)
{
	is(ask($node, "SELECT sender, body, dek_version, created_at = '2020-02-02 20:20:20Z' FROM chatcrypt.messages WHERE chat_id = '$conversation'"), "alice|of $conversation|2|t",
		'a message that was encrypted elsewhere opens after the migration');
	is(ask($node, "SELECT count(*) FROM chatcrypt.verify_chat('$conversation'::uuid)"), '0',
		'a conversation that was migrated verifies');
	is(keys_for('alice', $conversation)->{2}, $old_key{$conversation},
		'the key of a migrated conversation is the one that its clients have');
	my $from_server = $json->decode(as_actor('alice', "SELECT wire FROM chatcrypt.wire_messages WHERE chat_id = '$conversation'"));
	is(client({ do => 'open', with => 'tweetnacl', wire => $from_server, keys => { 2 => $old_key{$conversation} } })->{value}, "of $conversation",
		'clients open a migrated message with their old key');
}
foreach my $rule ([ 'hkdf salt', 'chat:{uuid}', 'text' ], [ '{uuid}', 'messages', 'text' ], [ 'v2', '{uuid}', 'hex' ])
{
	my ($salt, $info, $encoding) = @$rule;
	my $conversation = $conversations[0];
	my $uuid = $encoding eq 'hex' ? $conversation =~ s/-//gr : $conversation;
	my $version = ask($node, "SELECT max(dek_version) + 1 FROM chatcrypt.dek WHERE chat_id = '$conversation'");
	is(ask($node, "SELECT chatcrypt.import_conversation_keys(ARRAY['$conversation']::uuid[], '\\x$master', '$salt', '$info', '$encoding', $version)"), '1',
		"a key is imported by the rule @$rule");
	is(keys_for('alice', $conversation)->{$version}, client({ do => 'derive', master => $master, salt => $salt =~ s/\{uuid\}/$uuid/r, info => $info =~ s/\{uuid\}/$uuid/r })->{value},
		"the key that was imported by the rule @$rule is that of the other system");
}
$node->safe_psql('postgres', 'REVOKE chatcrypt_admin FROM service');

# The keys of many chats are imported with few calls to the KMS.
my $calls = 'SELECT sum(calls) FROM chatcrypt.kms_status';
$node->safe_psql('postgres', q{SELECT chatcrypt.create_chats(array_agg(chatcrypt.to_uuid(g)), mode => 'conversation_key') FROM generate_series(100000, 109999) AS g});
my $before = ask($node, $calls);
is(ask($node, "SELECT chatcrypt.import_conversation_keys(array_agg(chatcrypt.to_uuid(g)), '\\x$master') FROM generate_series(100000, 109999) AS g"), '10000',
	'10,000 keys are imported');
my $used = ask($node, $calls) - $before;
cmp_ok($used, '<=', 10000 / 64, "10,000 keys are imported with $used calls to the KMS");
is(ask($node, "SELECT count(*), count(DISTINCT kcv) FROM chatcrypt.dek WHERE dek_version = 2 AND state = 'active' AND chat_id BETWEEN chatcrypt.to_uuid(100000) AND chatcrypt.to_uuid(109999)"),
	'10000|10000', 'each of 10,000 chats has an imported key of its own');
hide_keys($node);
like(ask($node, "SELECT chatcrypt.import_conversation_keys(array_agg(chatcrypt.to_uuid(g)), '\\x$master', version => 3) FROM generate_series(100000, 100999) AS g"), qr/ERROR:  could not wrap/,
	'no key is imported while the KMS is away');
show_keys($node);
is(ask($node, 'SELECT count(*) FROM chatcrypt.dek WHERE dek_version = 3 AND chat_id BETWEEN chatcrypt.to_uuid(100000) AND chatcrypt.to_uuid(109999)'), '0',
	'an import that failed has stored no key at all');

# Rotation ---------------------------------------------------------------------------------

my $listener = session($node);
answer($listener, 'LISTEN chatcrypt_key_rotated');

# The payloads of the notifications since the last call.
sub heard
{
	my @payloads = answer($listener, 'SELECT 1') =~ /notification "chatcrypt_key_rotated" with payload "(.*?)" received/g;
	return join ' ', map { my $p = $json->decode($_); join ',', map { "$_=$p->{$_}" } sort keys %$p } @payloads;
}

my $stale = client({ do => 'seal', with => 'tweetnacl', text => 'under way', version => 1, keys => \%keys })->{value};
is(ask($node, "SELECT chatcrypt.rotate_chat('$chat'::uuid)"), '2', 'a chat is rotated');
is(heard(), "chat_id=$chat,key_version=2",
	'clients are notified of the rotated chat and its version');
ask($node, "BEGIN; SELECT chatcrypt.rotate_chat('$chat'::uuid); ROLLBACK");
ask($node, 'SELECT chatcrypt.create_chat(200), chatcrypt.rotate_chat(200)');
is(heard(), '',
	'clients are not notified of a rotation that was rolled back, or of a chat of another mode');
ask($node, "SELECT chatcrypt.import_dek('$chat'::uuid, decode(repeat('ab', 32), 'hex'), 9, 'conversation')");
is(heard(), "chat_id=$chat,key_version=9",
	'clients are notified of an import that becomes the active key');
ask($node, "SELECT chatcrypt.import_dek('$chat'::uuid, decode(repeat('cd', 32), 'hex'), 5, 'conversation')");
is(heard(), '', 'clients are not notified of an import that does not become the active key');
ask($node, "UPDATE chatcrypt.chat SET rotate_after = '1 microsecond' WHERE chat_id = '$chat'; CALL chatcrypt.rotate_due(); UPDATE chatcrypt.chat SET rotate_after = NULL");
ask($node, 'CALL chatcrypt.rotate_due()');
is(heard(), "chat_id=$chat,key_version=10", 'clients are notified of a rotation by policy');

my $accepted = as_actor('alice', "SELECT chatcrypt.accept_wire_message('$chat'::uuid, " . wire_literal($stale) . ')');
is(ask($node, "SELECT body, dek_version FROM chatcrypt.messages WHERE message_id = '$accepted'"), 'under way|10',
	'a message sealed before a rotation and accepted after it is sealed by the new key');
my $after = $json->decode(as_actor('bob', "SELECT chatcrypt.wire_message('$chat'::uuid, '$accepted'::uuid)"));
is($after->{key_version}, 10, 'a wire message has the version of the new key');
like(client({ do => 'open', with => 'tweetnacl', wire => $after, keys => \%keys })->{error}, qr/ask the server for key 10/,
	'a client that does not have the new key asks for it');
%keys = (%keys, %{ keys_for('bob', $chat) });
is(client({ do => 'open', with => 'tweetnacl', wire => $after, keys => \%keys })->{value}, 'under way',
	'a client that got the new key reads the message');
is(join(' ', sort { $a <=> $b } keys %{ keys_for('bob', $chat, 1, 2, 5, 9) }), '1 2 5 9',
	'clients can get older versions of the key');

# A removed participant is out at once, also in an open transaction -----------------------

my $open = session($node);
answer($open, q{SET ROLE service});
answer($open, q{BEGIN ISOLATION LEVEL REPEATABLE READ});
answer($open, q{SELECT chatcrypt.act_as('bob')});
is(answer($open, "SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)"), '10',
	'a participant gets the key');
ask($node, "UPDATE chatcrypt.chat SET rotate_on_removal = true WHERE chat_id = '$chat'");
is(ask($node, "SELECT chatcrypt.remove_participant('$chat'::uuid, 'bob')"), 't',
	'the participant is removed');
is(heard(), "chat_id=$chat,key_version=11", 'clients are notified of the rotation on removal');
like(answer($open, "SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)"), qr/not a participant/,
	'a removed participant gets no key any more');
answer($open, 'ROLLBACK');
like(as_actor('bob', "SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid, 1)"), qr/not a participant/,
	'a removed participant gets no older version of the key');
is(as_actor('bob', "SELECT count(*) FROM chatcrypt.wire_messages WHERE chat_id = '$chat'"), '0',
	'a removed participant gets no message');
is(as_actor('alice', "SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)"), '11',
	'the other participants get the new key');

# Traces of a key that was handed out -----------------------------------------------------

my $events = "SELECT count(*) FROM chatcrypt.key_event WHERE event = 'hand_out'";
my $events_before = ask($node, $events);
my ($transaction, $taken) = split /\|/, ask($node, "SET ROLE keys; BEGIN; SELECT pg_current_xact_id(), encode(key, 'hex') FROM chatcrypt.conversation_key('$chat'::uuid); ROLLBACK");
is(length($taken), 64, 'a client reads the key and rolls back');
is(ask($node, $events), $events_before,
	'the history has no event of a hand-out that was rolled back');
like(slurp_file($node->logfile), qr/LOG:  conversation key of chat $chat version 11 handed out in transaction $transaction to role "keys"\n/,
	'the log has the hand-out that was rolled back');
is(ask($node, "SET ROLE keys; SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)"), '11',
	'a role of chatcrypt_keyholder gets the key in a transaction that commits');
is(ask($node, "$events AND role = 'keys' AND session_role <> 'keys' AND actor IS NULL AND chat_id = '$chat' AND dek_version = 11"), '1',
	'the history has the hand-out that was committed');
like(slurp_file($node->logfile), qr/LOG:  conversation key of chat $chat version 10 handed out in transaction \d+ to role "service" for "bob"\n/,
	'the log has the actor of a hand-out');
$transaction = ask($node, "SET ROLE keys; BEGIN; SELECT pg_current_xact_id(); SAVEPOINT s; SELECT chatcrypt.conversation_key('$chat'::uuid, 10) \\g /dev/null\nROLLBACK TO s; SELECT chatcrypt.conversation_key('$chat'::uuid) \\g /dev/null\nCOMMIT");
is(ask($node, "SELECT string_agg(dek_version::text, ',') FROM chatcrypt.key_event WHERE transaction_id = '$transaction'"), '11',
	'the history has no hand-out that was rolled back to a savepoint');
my @lines = slurp_file($node->logfile) =~ /chat $chat version (\d+) handed out in transaction $transaction to role/g;
is("@lines", '10 11', 'the log has both hand-outs, and their versions tell them apart');
my $eve = q{E'eve" in transaction 1\n2026-01-01 LOG:  forged'};
ask($node, "SELECT chatcrypt.add_participant('$chat'::uuid, $eve)");
is(ask($node, "SET ROLE service; BEGIN; SELECT chatcrypt.act_as($eve) \\g /dev/null\nSELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid); COMMIT"), '11',
	'an actor with a line break in its name gets the key');
like(slurp_file($node->logfile), qr/ version 11 handed out in transaction \d+ to role "service" for "eve" in transaction 1\n\s+2026-01-01 LOG:  forged"\n/,
	'the log has the name with the line break');
unlike(slurp_file($node->logfile), qr/^2026-01-01 LOG:  forged/m,
	'the name with the line break begins no line of the log');
my $taken_base64 = encode_base64(pack('H*', $taken), '');
unlike(slurp_file($node->logfile), qr/$taken|\Q$taken_base64\E/i, 'the log has no key');
my (undef, undef, $told) = $node->psql('postgres', "SET client_min_messages = 'debug1'; SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)");
unlike($told, qr/handed out/, 'the client does not see the line of the log');
$events_before = ask($node, $events);
hide_keys($node);
$node->restart;
like(ask($node, "SET ROLE keys; SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)"), qr/could not unwrap/,
	'no key is handed out while the KMS is away');
is(ask($node, $events), $events_before, 'the history has no event of a hand-out that failed');
my $payload = ask($node, "SELECT chatcrypt.wire_message('$chat'::uuid, '$accepted'::uuid) ->> 'encrypted_payload'");
is($payload, $after->{encrypted_payload},
	'a message is sent as it is stored while the KMS is away');
show_keys($node);

# A standby --------------------------------------------------------------------------------

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
Chatcrypt::Test->share_keys($standby, $node);
$standby->start;
hide_keys($standby);
is(ask($standby, "SELECT chatcrypt.wire_message('$chat'::uuid, '$accepted'::uuid) ->> 'encrypted_payload'"), $payload, 'a standby sends a message without its key');
like(ask($standby, $_), qr/ERROR:  cannot execute chatcrypt\.\w+\(\) in a read-only transaction|ERROR:  cannot execute chatcrypt\.\w+\(\) during recovery/,
	"a standby refuses before it asks for a key: $_")
  foreach "SELECT chatcrypt.conversation_key('$chat'::uuid)", "SELECT chatcrypt.accept_wire_message('$chat'::uuid, '{}')",
  "SELECT chatcrypt.import_conversation_keys(ARRAY['$chat']::uuid[], decode(repeat('00', 32), 'hex'))";
show_keys($standby);
is(ask($standby, "SELECT body FROM chatcrypt.messages WHERE message_id = '$accepted'"), 'under way',
	'a standby reads a message');

# Another encoding -------------------------------------------------------------------------

$node->safe_psql('postgres', q{CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'});
ask($node, $_, 'latin') foreach 'CREATE EXTENSION chatcrypt', q{SELECT chatcrypt.create_chat(1, mode => 'conversation_key')},
  q{SELECT chatcrypt.import_dek(1, decode(repeat('ab', 32), 'hex'), 2, 'conversation')};
my %latin_key = (2 => encode_base64("\xab" x 32, ''));
foreach my $text ("gr\x{fc}\x{df}e", "\x{1f44b}")
{
	my $sent = client({ do => 'seal', with => 'tweetnacl', text => $text, version => 2, keys => \%latin_key })->{value};
	my $reply = ask($node, "SELECT chatcrypt.wire_message(1, chatcrypt.accept_wire_message(1, " . wire_literal($sent) . "))", 'latin');
	if (length($text) > 1)
	{
		my $id = ask($node, 'SELECT message_id FROM chatcrypt.sealed_message', 'latin');
		is(ask($node, "SELECT convert_to(body, 'UTF8') FROM chatcrypt.messages", 'latin'), '\x' . unpack('H*', "gr\xc3\xbc\xc3\x9fe"),
			'a LATIN1 server accepts a text that it can show');
		my $back = $json->decode(ask($node, "SELECT chatcrypt.wire_message(1, '$id'::uuid)", 'latin'));
		is(client({ do => 'open', with => 'libsodium', wire => $back, keys => \%latin_key })->{value}, $text,
			'a LATIN1 server sends the text back unchanged');
	}
	else
	{
		like($reply, qr/"encrypted_payload" of a wire message must hold text that this database can store/,
			'a LATIN1 server refuses a text that it cannot show');
	}
}

$_->quit foreach $listener, $open;
$client->kill_kill;
$standby->stop;
$node->stop;
done_testing();
