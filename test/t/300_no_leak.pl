# No plaintext where it does not belong: not in the log of the server, whatever goes wrong, and not
# in any file of the server, WAL included.  Bodies travel as parameters and as lines of COPY, since
# a literal is part of the statement, which the server logs where its settings say so.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $marker = 'Xq7MarkerOfABody7qX';
my $marker_as_bytea = unpack('H*', $marker);
my $node = Chatcrypt::Test->start('leak', conf => <<'CONF');
log_statement = none
log_error_verbosity = verbose
wal_level = logical
autovacuum = off
CONF
my $folder = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chat(1, ARRAY['alice']), chatcrypt.create_chat(2, ARRAY['bob']), chatcrypt.create_chat(3, mode => 'e2ee'),
	chatcrypt.create_chat(4, mode => 'conversation_key'), chatcrypt.create_chat(5);
SELECT chatcrypt.shred_chat(5, 'irreversible');
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), 'harmless');
ALTER TABLE chatcrypt.sealed_message ADD CONSTRAINT not_mallory CHECK (sender <> 'mallory');
CREATE ROLE app; GRANT chatcrypt_writer, chatcrypt_reader TO app;
CREATE ROLE nobody_special;
CREATE TABLE sealed (id bigint, e bytea);
CREATE FUNCTION checks() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused by a trigger''; END';
SQL

# Runs SQL with the marker as a parameter; returns the errors that the client saw.
sub with_parameter
{
	my ($sql) = @_;
	my $script = "$folder/script.sql";
	unlink $script;
	append_to_file($script, $sql);
	my ($out, $err) = run_command([ 'pgbench', '-n', '-M', 'extended', '-t', '1', '-D', "body=$marker", '-f', $script, $node->connstr('postgres') ]);
	return $err;
}

sub copy_in
{
	my ($lines, $columns, $options, $table) = @_;
	my ($out, $err);
	IPC::Run::run([ 'psql', '-X', '-q', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'),
			'-c', 'COPY chatcrypt.' . ($table // 'messages') . " ($columns) FROM stdin " . ($options // '') ],
		'<', \$lines, '>', \$out, '2>', \$err);
	return $err;
}

my $one = '00000000-0000-8000-8000-000000000001';
my $two = '00000000-0000-8000-8000-000000000002';
my $none = '00000000-0000-8000-8000-00000000ffff';

# Every error, in a statement that holds a body.
my @wrong = (
	[ 'no such chat', 'INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(99), :body);', qr/does not exist/ ],
	[ 'duplicate id', 'INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), :body);', qr/duplicate key/ ],
	[ 'no chat', 'INSERT INTO chatcrypt.messages (body) VALUES (:body);', qr/null value in column "chat_id"/ ],
	[ 'check', q{INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES (chatcrypt.to_uuid(1), 'mallory', :body);}, qr/violates check constraint "not_mallory"/ ],
	[ 'check of an update', q{UPDATE chatcrypt.messages SET sender = 'mallory', body = :body;}, qr/violates check constraint "not_mallory"/ ],
	[ 'end-to-end', 'INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(3), :body);', qr/takes no plaintext/ ],
	[ 'shredded', 'INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(5), :body);', qr/no active data key/ ],
	[ 'aad of a conversation', q{SELECT chatcrypt.encrypt(4, 1, :body::text, 'aad');}, qr/take no additional data/ ],
	[ 'body as aad', 'SELECT chatcrypt.decrypt(1, 1, chatcrypt.encrypt(1, 1, :body::text), :body::bytea);', qr/does not open/ ],
	[ 'body as an envelope', 'SELECT chatcrypt.decrypt(1, 1, :body::bytea);', qr/is not a message envelope/ ],
	[ 'no chat for put_message', 'SELECT chatcrypt.put_message(chatcrypt.to_uuid(99), chatcrypt.to_uuid(7), :body);', qr/does not exist/ ],
	[ 'moved to nowhere', 'UPDATE chatcrypt.messages SET chat_id = chatcrypt.to_uuid(99), body = :body;', qr/does not exist/ ],
	[ 'plaintext in the table', 'INSERT INTO chatcrypt.sealed_message (message_id, chat_id, encrypted_message, dek_version) VALUES (chatcrypt.to_uuid(8), chatcrypt.to_uuid(1), NULL, length(:body::text));',
		qr/violates check constraint "sealed_message_is_encrypted"/ ],
	[ 'a body for ciphertext', q{INSERT INTO chatcrypt.sealed_message (message_id, chat_id, encrypted_message, dek_version) VALUES (chatcrypt.to_uuid(8), chatcrypt.to_uuid(1), convert_to(:body, 'UTF8'), 1);},
		qr/violates check constraint "sealed_message_is_encrypted"/ ],
	[ 'an update with one', q{UPDATE chatcrypt.sealed_message SET encrypted_message = convert_to(:body, 'UTF8');},
		qr/violates check constraint "sealed_message_is_encrypted"/ ],
	[ 'not a participant', q{BEGIN; SELECT chatcrypt.act_as('alice'); INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(2), :body);}, qr/not a participant/ ],
	[ 'row-level security', q{BEGIN; SET LOCAL ROLE app; SELECT chatcrypt.act_as('alice'); SELECT chatcrypt.put_message(chatcrypt.to_uuid(2), chatcrypt.to_uuid(9), :body);}, qr/not a participant|row-level security/ ],
	[ 'a wire message, duplicate id', q{SELECT chatcrypt.accept_wire_message(4, jsonb_build_object('encrypted', false, 'message_id', 1, 'content', :body::text));}, qr/duplicate key/ ],
	[ 'a wire message, end-to-end', q{SELECT chatcrypt.accept_wire_message(3, jsonb_build_object('encrypted', false, 'content', :body::text));}, qr/takes no plaintext/ ],
	[ 'a wire message, encrypted or not', q{SELECT chatcrypt.accept_wire_message(4, jsonb_build_object('encrypted', true, 'content', :body::text));}, qr/must be empty where/ ],
	[ 'a wire message, of whose key', q{BEGIN; SELECT chatcrypt.act_as('alice'); SELECT chatcrypt.accept_wire_message(1, jsonb_build_object('encrypted', false, 'sender', 'bob', 'content', :body::text));}, qr/not the current actor/ ],
	[ 'a body as a payload', q{SELECT chatcrypt.accept_wire_message(4, jsonb_build_object('encrypted', true, 'nonce', repeat('I', 32), 'encrypted_payload', :body::text));}, qr/must be base64/ ],
	[ 'a body as a master key', q{SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(4)], :body::bytea, info => 'none');}, qr/all chats would get the same key/ ],
	[ 'no right', q{BEGIN; SET LOCAL ROLE nobody_special; INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), :body);}, qr/permission denied/ ],
	[ 'inside PL/pgSQL', q{SELECT in_function(:body);}, qr/does not exist/ ]);
$node->safe_psql('postgres', q{CREATE FUNCTION in_function(b text) RETURNS void LANGUAGE plpgsql AS
	'BEGIN INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(99), b); END'});
foreach my $case (@wrong)
{
	my ($name, $sql, $pattern) = @$case;
	my $said = with_parameter("$sql\n");
	like($said, $pattern, "$name: the error is raised");
	unlike($said, qr/$marker|$marker_as_bytea/, "$name: the error does not show the body");
}

# COPY would show the whole line in the context of its error.
my $columns = 'message_id, chat_id, sender, body';
my @wrong_lines = (
	[ 'no such chat', "\\N\t$none\tx\t$marker\n", qr/does not exist/ ],
	[ 'duplicate id', "$one\t$one\tx\t$marker\n", qr/duplicate key/ ],
	[ 'check', "\\N\t$one\tmallory\t$marker\n", qr/violates check constraint/ ],
	[ 'only the body', "\\N\t$one\t$marker\n", qr/missing data for column "body"/ ],
	[ 'a column too many', "\\N\t$one\tx\t$marker\tx\n", qr/extra data after last expected column/ ],
	[ 'a broken escape', "\\N\t$one\tx\t$marker\\xff\n", qr/invalid byte sequence/ ]);
foreach my $case (@wrong_lines)
{
	my ($name, $lines, $pattern) = @$case;
	my $said = copy_in("\\N\t$one\tx\tharmless\n$lines", $columns);
	like($said, $pattern, "COPY, $name: the error is raised");
	like($said, qr/CONTEXT:  COPY messages, line 2\b/,
		"COPY, $name: the context has the number of the line");
	unlike($said, qr/$marker/, "COPY, $name: the error does not show the line");
}
like(copy_in("\\N,$one,x,\"$marker\nsecond line of it\",too many\n", $columns, '(FORMAT csv)'), qr/extra data.*CONTEXT:  COPY messages, line \d+$/ms,
	'COPY of CSV: the context has the number of the line and not the line itself');
$node->safe_psql('postgres', 'CREATE TRIGGER checks BEFORE INSERT ON chatcrypt.sealed_message FOR EACH ROW EXECUTE FUNCTION checks()');
unlike(copy_in("\\N\t$one\tx\t$marker\n", $columns), qr/$marker/,
	'COPY, a trigger that refuses: the error does not show the line');
$node->safe_psql('postgres', 'DROP TRIGGER checks ON chatcrypt.sealed_message');

my $said = copy_in("$two\t$one\t$marker\t1\n", 'message_id, chat_id, encrypted_message, dek_version', '', 'sealed_message');
like($said, qr/violates check constraint "sealed_message_is_encrypted".*CONTEXT:  COPY sealed_message, line 1$/ms,
	'COPY of a body into the table: the error is raised');
unlike($said, qr/$marker|$marker_as_bytea/,
	'COPY of a body into the table: the error does not show the body');

append_to_file("$folder/lines", "\\N\t$one\tx\t$marker\n" x 3);

# COPY that is canceled, or whose session is terminated, while it works on a line.
foreach my $end ('pg_cancel_backend', 'pg_terminate_backend')
{
	my $holder = session($node);
	answer($holder, 'BEGIN; LOCK TABLE chatcrypt.sealed_message IN SHARE MODE');
	my ($out, $err) = ('', '');
	my $copy = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', "COPY chatcrypt.messages ($columns) FROM stdin" ],
		'<', "$folder/lines", '>', \$out, '2>', \$err);
	my $waits = q{FROM pg_stat_activity WHERE query LIKE 'COPY%' AND wait_event_type = 'Lock'};
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 $waits"), "$end: COPY waits for a lock");
	$node->safe_psql('postgres', "SELECT $end(pid) $waits");
	$copy->finish;
	answer($holder, 'ROLLBACK');
	$holder->quit;
	like($err, qr/canceling statement|terminating connection/, "$end: COPY ends");
	unlike($err, qr/$marker/, "$end: the error of COPY does not show the line");
}

# Other tables keep their context, as users expect.
$node->safe_psql('postgres', 'CREATE TABLE plain (n integer)');
my (undef, undef, $errors) = $node->psql('postgres', "COPY plain FROM PROGRAM 'echo not a number'");
like($errors, qr/CONTEXT:  COPY plain, line 1, column n: "not a number"/,
	'COPY into other tables keeps its context');

my $log = slurp_file($node->logfile);
cmp_ok(scalar(() = $log =~ /ERROR:  /g), '>=', @wrong + @wrong_lines,
	'the log has at least as many errors as were provoked');
unlike($log, qr/$marker|$marker_as_bytea/, 'the log has no body');

# Files.  A body that is stored in any way is found in no file; a control that is not encrypted is
# found.
with_parameter("$_\n")
  foreach 'INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), :body);',
  'INSERT INTO chatcrypt.messages (chat_id, body) SELECT chatcrypt.to_uuid(1), :body FROM generate_series(1, 100);',
  'UPDATE chatcrypt.messages SET body = :body WHERE message_id = chatcrypt.to_uuid(1);',
  'SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(50), :body);',
  'INSERT INTO sealed SELECT g, chatcrypt.encrypt(1, g, :body::text) FROM generate_series(1, 10) AS g;',
  'INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(4), :body);';
is(copy_in("\\N\t$one\tx\t$marker\n" x 100, $columns), '',
	'COPY of 100 lines with a body succeeds');
$node->safe_psql('postgres', q{INSERT INTO chatcrypt.messages (chat_id, body) SELECT chatcrypt.to_uuid(1), repeat('} . $marker . q{', 2000)});
is(ask($node, "SELECT count(*) FROM chatcrypt.messages WHERE body LIKE '%$marker%'"), '205',
	'every message with the body is stored');
is(ask($node, "SELECT count(*) FROM sealed WHERE chatcrypt.decrypt(1, id, e) = '$marker'"), '10',
	'every envelope with the body in another table is stored');
$node->safe_psql('postgres', "INSERT INTO plain VALUES (1); CREATE TABLE control AS SELECT 'control' || '$marker' AS t; CHECKPOINT");

sub files_with
{
	my ($text) = @_;
	my ($out, undef) = run_command([ 'grep', '-r', '-a', '-l', '-F', $text, $node->data_dir ]);
	return split /\n/, $out;
}
my @control = files_with("control$marker");
ok(scalar(grep { m{/pg_wal/} } @control), 'grep finds the unencrypted control in WAL');
ok(scalar(grep { m{/base/} } @control), 'grep finds the unencrypted control in a table');
$node->safe_psql('postgres', 'DROP TABLE control; CHECKPOINT; SELECT pg_switch_wal()');
my ($count) = run_command([ 'sh', '-c', 'grep -r -a -o -h -F "$1" "$2" | wc -l', 'sh', $marker, $node->data_dir ]);
my ($controls) = run_command([ 'sh', '-c', 'grep -r -a -o -h -F "control$1" "$2" | wc -l', 'sh', $marker, $node->data_dir ]);
is($count, $controls, 'no file has a copy of a body, except for the controls');

$node->stop;
done_testing();
