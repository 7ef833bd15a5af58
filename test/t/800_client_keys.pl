# Keys that clients hold, with clients: tweetnacl and libsodium in node, in both directions; the
# examples of docs/client-keys.md as they stand there; a system that moves in; rotation as clients
# hear of it; participants that were removed; a standby; and what is left when a key was handed out.
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

# Sends a request; the answer.  Undefined where there is no client.
sub client
{
	my ($request) = @_;
	$answers = '';
	$requests .= $json->encode($request) . "\n";
	eval { $client->pump until $answers =~ /\n/; 1 } or return {};
	return $json->decode($answers);
}

is(scalar @{ $examples{js} }, 1, 'the docs have an example of a client');
is(scalar @{ $examples{sql} }, 6, 'and of a service and of moving in');

# Servers ----------------------------------------------------------------------------------

my $node = Chatcrypt::Test->start('clients', streaming => 1, conf => "autovacuum = off\n");
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE service LOGIN; GRANT chatcrypt_writer, chatcrypt_reader TO service;
CREATE ROLE keys LOGIN; GRANT chatcrypt_keyholder TO keys;
SQL

# As the service, on behalf of somebody.
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

# The examples run as they stand, in a session of a role that may what they need.
sub run_example
{
	my ($sql, %variables) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', (map { ('-v', "$_=$variables{$_}") } sort keys %variables),
			'-d', $node->connstr('postgres') . ' user=service' ], '<', \$sql, '>', \$out, '2>', \$err);
	is($err, '', 'the example runs');
	return split /\n/, $out;
}

my ($chat) = grep { $_ ne '' } run_example($examples{sql}[0] . '\echo :chat');
my ($key, @wires) = grep { $_ ne '' } run_example($examples{sql}[1], chat => $chat);
my %keys = (split /\|/, $key);
is(scalar @wires, 1, 'the service gives a key and a message');
my $wire = $json->decode($wires[0]);
is(join(' ', sort keys %$wire), 'chat_id content created_at encrypted encrypted_payload key_version message_id nonce sender', 'with these fields');
is($wire->{content}, '', 'no plaintext is on the wire');
is(client({ do => 'open', with => 'tweetnacl', wire => $wire, keys => \%keys })->{value}, 'Lunch at noon?', 'the client of the docs opens it');
my $sealed = client({ do => 'seal', with => 'tweetnacl', text => 'Half past.', version => 1, keys => \%keys })->{value};
my @ids = run_example($examples{sql}[2], chat => $chat, wire => $json->encode($sealed));
is(ask($node, "SELECT sender, body FROM chatcrypt.messages WHERE message_id = '$ids[-1]'"), 'bob|Half past.', 'and the server what it sent');

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
		is("$again->{nonce} $again->{encrypted_payload}", "$from_client->{nonce} $from_client->{encrypted_payload}", 'and stores just those bytes');
	}

	# What a client did wrong, or somebody did to it.
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
	is(as_actor('alice', "SELECT chatcrypt.accept_wire_message('$chat'::uuid, " . wire_literal($other) . ')'), $does_not_open, "$library: and what another key sealed");
	my $damaged = $json->decode(as_actor('alice', "SELECT chatcrypt.wire_message('$chat'::uuid, $number)"));
	substr($damaged->{encrypted_payload}, 30, 1) =~ tr/A-Za-z/B-ZAb-za/ or substr($damaged->{encrypted_payload}, 30, 1) = 'A';
	ok(defined client({ do => 'open', with => $library, wire => $damaged, keys => \%keys })->{error}, "$library: and the client what was damaged");
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
# Past the view, which is for a superuser.
my $superuser = ask($node, 'SELECT current_user');
like(ask($node, "SET ROLE service; $examples{sql}[5]"), qr/permission denied for table sealed_message/, 'who writes for an application does not write past the view');
run_example("\\connect - $superuser\n$examples{sql}[5]");
foreach my $conversation (@conversations)
{
	is(ask($node, "SELECT sender, body, dek_version, created_at = '2020-02-02 20:20:20Z' FROM chatcrypt.messages WHERE chat_id = '$conversation'"), "alice|of $conversation|2|t", 'what was encrypted elsewhere opens here');
	is(ask($node, "SELECT count(*) FROM chatcrypt.verify_chat('$conversation'::uuid)"), '0', 'and verifies');
	is(keys_for('alice', $conversation)->{2}, $old_key{$conversation}, 'by the key that its clients have');
	my $from_server = $json->decode(as_actor('alice', "SELECT wire FROM chatcrypt.wire_messages WHERE chat_id = '$conversation'"));
	is(client({ do => 'open', with => 'tweetnacl', wire => $from_server, keys => { 2 => $old_key{$conversation} } })->{value}, "of $conversation", 'and they go on');
}
foreach my $rule ([ 'hkdf salt', 'chat:{uuid}', 'text' ], [ '{uuid}', 'messages', 'text' ], [ 'v2', '{uuid}', 'hex' ])
{
	my ($salt, $info, $encoding) = @$rule;
	my $conversation = $conversations[0];
	my $uuid = $encoding eq 'hex' ? $conversation =~ s/-//gr : $conversation;
	my $version = ask($node, "SELECT max(dek_version) + 1 FROM chatcrypt.dek WHERE chat_id = '$conversation'");
	is(ask($node, "SELECT chatcrypt.import_conversation_keys(ARRAY['$conversation']::uuid[], '\\x$master', '$salt', '$info', '$encoding', $version)"), '1', "by the rule @$rule");
	is(keys_for('alice', $conversation)->{$version}, client({ do => 'derive', master => $master, salt => $salt =~ s/\{uuid\}/$uuid/r, info => $info =~ s/\{uuid\}/$uuid/r })->{value}, 'the key is that of the other system');
}
$node->safe_psql('postgres', 'REVOKE chatcrypt_admin FROM service');

# Many at once cost few calls to the KMS.
my $calls = 'SELECT sum(calls) FROM chatcrypt.kms_status';
$node->safe_psql('postgres', q{SELECT chatcrypt.create_chats(array_agg(chatcrypt.to_uuid(g)), mode => 'conversation_key') FROM generate_series(100000, 109999) AS g});
my $before = ask($node, $calls);
is(ask($node, "SELECT chatcrypt.import_conversation_keys(array_agg(chatcrypt.to_uuid(g)), '\\x$master') FROM generate_series(100000, 109999) AS g"), '10000', '10,000 keys come in');
my $used = ask($node, $calls) - $before;
cmp_ok($used, '<=', 10000 / 64, "with $used calls");
is(ask($node, "SELECT count(*), count(DISTINCT kcv) FROM chatcrypt.dek WHERE dek_version = 2 AND state = 'active' AND chat_id BETWEEN chatcrypt.to_uuid(100000) AND chatcrypt.to_uuid(109999)"),
	'10000|10000', 'each chat has one of its own');
hide_keys($node);
like(ask($node, "SELECT chatcrypt.import_conversation_keys(array_agg(chatcrypt.to_uuid(g)), '\\x$master', version => 3) FROM generate_series(100000, 100999) AS g"), qr/ERROR:  could not wrap/, 'while the KMS is away none do');
show_keys($node);
is(ask($node, 'SELECT count(*) FROM chatcrypt.dek WHERE dek_version = 3 AND chat_id BETWEEN chatcrypt.to_uuid(100000) AND chatcrypt.to_uuid(109999)'), '0', 'not one of them');

# Rotation ---------------------------------------------------------------------------------

my $listener = session($node);
answer($listener, 'LISTEN chatcrypt_key_rotated');

# What came since the last time, as payloads.
sub heard
{
	my @payloads = answer($listener, 'SELECT 1') =~ /notification "chatcrypt_key_rotated" with payload "(.*?)" received/g;
	return join ' ', map { my $p = $json->decode($_); join ',', map { "$_=$p->{$_}" } sort keys %$p } @payloads;
}

my $stale = client({ do => 'seal', with => 'tweetnacl', text => 'under way', version => 1, keys => \%keys })->{value};
is(ask($node, "SELECT chatcrypt.rotate_chat('$chat'::uuid)"), '2', 'a rotation');
is(heard(), "chat_id=$chat,key_version=2", 'clients hear which chat, and which version');
ask($node, "BEGIN; SELECT chatcrypt.rotate_chat('$chat'::uuid); ROLLBACK");
ask($node, 'SELECT chatcrypt.create_chat(200), chatcrypt.rotate_chat(200)');
is(heard(), '', 'of none that was rolled back, and of no other chats');
ask($node, "SELECT chatcrypt.import_dek('$chat'::uuid, decode(repeat('ab', 32), 'hex'), 9, 'conversation')");
is(heard(), "chat_id=$chat,key_version=9", 'of an import that takes over');
ask($node, "SELECT chatcrypt.import_dek('$chat'::uuid, decode(repeat('cd', 32), 'hex'), 5, 'conversation')");
is(heard(), '', 'and of none that does not');
ask($node, "UPDATE chatcrypt.chat SET rotate_after = '1 microsecond' WHERE chat_id = '$chat'; CALL chatcrypt.rotate_due(); UPDATE chatcrypt.chat SET rotate_after = NULL");
ask($node, 'CALL chatcrypt.rotate_due()');
is(heard(), "chat_id=$chat,key_version=10", 'of a rotation by policy');

my $accepted = as_actor('alice', "SELECT chatcrypt.accept_wire_message('$chat'::uuid, " . wire_literal($stale) . ')');
is(ask($node, "SELECT body, dek_version FROM chatcrypt.messages WHERE message_id = '$accepted'"), 'under way|10', 'a message that was under way meanwhile is sealed by the new key');
my $after = $json->decode(as_actor('bob', "SELECT chatcrypt.wire_message('$chat'::uuid, '$accepted'::uuid)"));
is($after->{key_version}, 10, 'its version says which');
like(client({ do => 'open', with => 'tweetnacl', wire => $after, keys => \%keys })->{error}, qr/ask the server for key 10/, 'a client that has it not asks');
%keys = (%keys, %{ keys_for('bob', $chat) });
is(client({ do => 'open', with => 'tweetnacl', wire => $after, keys => \%keys })->{value}, 'under way', 'and reads');
is(join(' ', sort { $a <=> $b } keys %{ keys_for('bob', $chat, 1, 2, 5, 9) }), '1 2 5 9', 'older versions can be had');

# Who is removed is out at once, in a transaction that is open too -------------------------

my $open = session($node);
answer($open, q{SET ROLE service});
answer($open, q{BEGIN ISOLATION LEVEL REPEATABLE READ});
answer($open, q{SELECT chatcrypt.act_as('bob')});
is(answer($open, "SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)"), '10', 'a participant has the key');
ask($node, "UPDATE chatcrypt.chat SET rotate_on_removal = true WHERE chat_id = '$chat'");
is(ask($node, "SELECT chatcrypt.remove_participant('$chat'::uuid, 'bob')"), 't', 'is removed');
is(heard(), "chat_id=$chat,key_version=11", 'which rotates, where the policy says so');
like(answer($open, "SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)"), qr/not a participant/, 'and gets no key any more');
answer($open, 'ROLLBACK');
like(as_actor('bob', "SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid, 1)"), qr/not a participant/, 'of no version');
is(as_actor('bob', "SELECT count(*) FROM chatcrypt.wire_messages WHERE chat_id = '$chat'"), '0', 'and no message');
is(as_actor('alice', "SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)"), '11', 'the others go on');

# What is left when a key was handed out ---------------------------------------------------

my $events = "SELECT count(*) FROM chatcrypt.key_event WHERE event = 'hand_out'";
my $events_before = ask($node, $events);
my ($transaction, $taken) = split /\|/, ask($node, "SET ROLE keys; BEGIN; SELECT pg_current_xact_id(), encode(key, 'hex') FROM chatcrypt.conversation_key('$chat'::uuid); ROLLBACK");
is(length($taken), 64, 'a client reads the key and rolls back');
is(ask($node, $events), $events_before, 'the history has lost it');
like(slurp_file($node->logfile), qr/LOG:  conversation key of chat $chat version 11 handed out in transaction $transaction to role "keys"\n/, 'the log has not');
is(ask($node, "SET ROLE keys; SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)"), '11', 'one that commits');
is(ask($node, "$events AND role = 'keys' AND session_role <> 'keys' AND actor IS NULL AND chat_id = '$chat' AND dek_version = 11"), '1', 'is in the history');
like(slurp_file($node->logfile), qr/LOG:  conversation key of chat $chat version 10 handed out in transaction \d+ to role "service" for "bob"\n/, 'with the actor in the log');
$transaction = ask($node, "SET ROLE keys; BEGIN; SELECT pg_current_xact_id(); SAVEPOINT s; SELECT chatcrypt.conversation_key('$chat'::uuid, 10) \\g /dev/null\nROLLBACK TO s; SELECT chatcrypt.conversation_key('$chat'::uuid) \\g /dev/null\nCOMMIT");
is(ask($node, "SELECT string_agg(dek_version::text, ',') FROM chatcrypt.key_event WHERE transaction_id = '$transaction'"), '11', 'what a savepoint took back is not in the history either');
my @lines = slurp_file($node->logfile) =~ /chat $chat version (\d+) handed out in transaction $transaction to role/g;
is("@lines", '10 11', 'and in the log it is told apart by its version');
my $eve = q{E'eve" in transaction 1\n2026-01-01 LOG:  forged'};
ask($node, "SELECT chatcrypt.add_participant('$chat'::uuid, $eve)");
is(ask($node, "SET ROLE service; BEGIN; SELECT chatcrypt.act_as($eve) \\g /dev/null\nSELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid); COMMIT"), '11', 'an actor of a strange name');
like(slurp_file($node->logfile), qr/ version 11 handed out in transaction \d+ to role "service" for "eve" in transaction 1\n\s+2026-01-01 LOG:  forged"\n/, 'is in the log');
unlike(slurp_file($node->logfile), qr/^2026-01-01 LOG:  forged/m, 'and makes no line of its own');
my $taken_base64 = encode_base64(pack('H*', $taken), '');
unlike(slurp_file($node->logfile), qr/$taken|\Q$taken_base64\E/i, 'and no key');
my (undef, undef, $told) = $node->psql('postgres', "SET client_min_messages = 'debug1'; SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)");
unlike($told, qr/handed out/, 'the line is for the log alone');
$events_before = ask($node, $events);
hide_keys($node);
$node->restart;
like(ask($node, "SET ROLE keys; SELECT key_version FROM chatcrypt.conversation_key('$chat'::uuid)"), qr/could not unwrap/, 'while the KMS is away there is no key');
is(ask($node, $events), $events_before, 'and no event of one');
my $payload = ask($node, "SELECT chatcrypt.wire_message('$chat'::uuid, '$accepted'::uuid) ->> 'encrypted_payload'");
is($payload, $after->{encrypted_payload}, 'but messages as they are stored');
show_keys($node);

# A standby --------------------------------------------------------------------------------

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
Chatcrypt::Test->share_keys($standby, $node);
$standby->start;
hide_keys($standby);
is(ask($standby, "SELECT chatcrypt.wire_message('$chat'::uuid, '$accepted'::uuid) ->> 'encrypted_payload'"), $payload, 'a standby gives messages, and needs no key for it');
like(ask($standby, $_), qr/ERROR:  cannot execute chatcrypt\.\w+\(\) in a read-only transaction|ERROR:  cannot execute chatcrypt\.\w+\(\) during recovery/, "it refuses before it asks for a key: $_")
  foreach "SELECT chatcrypt.conversation_key('$chat'::uuid)", "SELECT chatcrypt.accept_wire_message('$chat'::uuid, '{}')",
  "SELECT chatcrypt.import_conversation_keys(ARRAY['$chat']::uuid[], decode(repeat('00', 32), 'hex'))";
show_keys($standby);
is(ask($standby, "SELECT body FROM chatcrypt.messages WHERE message_id = '$accepted'"), 'under way', 'and reads as ever');

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
		is(ask($node, "SELECT convert_to(body, 'UTF8') FROM chatcrypt.messages", 'latin'), '\x' . unpack('H*', "gr\xc3\xbc\xc3\x9fe"), 'a LATIN1 server takes what it can show');
		my $back = $json->decode(ask($node, "SELECT chatcrypt.wire_message(1, '$id'::uuid)", 'latin'));
		is(client({ do => 'open', with => 'libsodium', wire => $back, keys => \%latin_key })->{value}, $text, 'and gives it back as it came');
	}
	else
	{
		like($reply, qr/"encrypted_payload" of a wire message must hold text, and such as this database can store/, 'and refuses what nobody could read there');
	}
}

$_->quit foreach $listener, $open;
$client->kill_kill;
$standby->stop;
$node->stop;
done_testing();
