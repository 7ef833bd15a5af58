# Attacks on act_as(): every way to be in a transaction whose actor is gone, or was never named, and
# what such a transaction shows and writes.  All of them connect as the role "app", which reads and
# writes for all users of a service.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('actor', streaming => 'logical', conf => "max_prepared_transactions = 5\n");

# Alice and bob take part in chat 1, and bob alone in chat 2.  Envelopes of both chats are in a
# table of the application's own, without a policy.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN;
GRANT chatcrypt_writer, chatcrypt_reader TO app;
SELECT chatcrypt.create_chat(1, ARRAY['alice', 'bob']), chatcrypt.create_chat(2, ARRAY['bob']);
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES
	(chatcrypt.to_uuid(11), chatcrypt.to_uuid(1), 'alice', 'for alice and bob'), (chatcrypt.to_uuid(21), chatcrypt.to_uuid(2), 'bob', 'for bob');
SELECT chatcrypt.put_attachment(2, 31, 'a file of bob''s', sender => 'bob');
CREATE TABLE notes AS SELECT 2::bigint AS chat, 5::bigint AS note, chatcrypt.encrypt(2, 5, 'a note') AS envelope;
GRANT ALL ON notes TO app;
GRANT CREATE ON SCHEMA public TO app;
CREATE FUNCTION enter(name text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS 'BEGIN PERFORM chatcrypt.act_as(name); END';
SQL

# The rows, or else the first line of the error, of a new connection as the role.
sub as_role
{
	my ($role, $sql) = @_;
	my ($status, $rows, $errors) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ]);
	return $1 if $errors =~ /((?:ERROR|FATAL):.*)/;
	return $rows;
}

sub as_app
{
	return as_role('app', @_);
}

my $act = "SELECT FROM chatcrypt.act_as('alice');";
my $messages = 'SELECT count(*) FROM chatcrypt.messages;';
my $body = 'SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(21);';
my $note = 'SELECT chatcrypt.decrypt(chat, note, envelope) FROM notes;';
my $nobody = qr/ERROR:  this transaction has no actor/;

# What alice sees, and a service that never names an actor.
is(as_app("BEGIN; $act $messages $body COMMIT;"), '1', 'an actor sees the messages of its own chats alone');
is(as_app("$messages $note"), "2\na note", 'a role that names no actor sees all, unless require_actor is on');

# NULL and the empty string are no names.
like(as_app("BEGIN; SELECT FROM chatcrypt.act_as(NULL); $messages"), qr/^ERROR:  the actor's name must not be null/, 'act_as(NULL) is an error');
like(as_app("BEGIN; SELECT FROM chatcrypt.act_as(''); $messages"), qr/^ERROR:  the actor's name must not be empty/, 'act_as of an empty name is an error');
is(as_app("SET client_min_messages = error; BEGIN; SELECT FROM chatcrypt.act_as('nobody'); $messages COMMIT"), '0', 'an actor without chats sees nothing');

# Each of these loses the actor in the middle of a request, without require_actor.
my %lost = (
	'ROLLBACK TO SAVEPOINT' => "BEGIN; SAVEPOINT s; $act ROLLBACK TO s;",
	'the release of a savepoint inside one that is rolled back' => "BEGIN; SAVEPOINT s; SAVEPOINT t; $act RELEASE t; ROLLBACK TO s;",
	'an EXCEPTION block' => q{BEGIN; DO $$ BEGIN PERFORM chatcrypt.act_as('alice'); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END $$;},
	'a statement that fails after a savepoint' => "\\set ON_ERROR_STOP 0\nBEGIN; SAVEPOINT s; $act SELECT 1 / (SELECT 0) \\g /dev/null\n ROLLBACK TO s;");

foreach my $way (sort keys %lost)
{
	my $before = $lost{$way};
	my $ask = $before =~ /ON_ERROR_STOP/ ? sub { (as_app_quietly(@_)) } : \&as_app;

	is($ask->("$before $messages"), '0', "after $way no message is shown");
	is($ask->("$before SELECT count(*) FROM chatcrypt.sealed_message;"), '0', "after $way no row of the table is shown");
	is($ask->("$before SELECT count(*) FROM chatcrypt.attachments;"), '0', "after $way no file is shown");
	like($ask->("$before $note"), $nobody, "after $way nothing is decrypted");
	like($ask->("$before SELECT chatcrypt.try_decrypt(chat, note, envelope) FROM notes;"), $nobody, "after $way try_decrypt decrypts nothing");
	like($ask->("$before SELECT chatcrypt.decrypt_bytea(chat, note, envelope) FROM notes;"), $nobody, "after $way decrypt_bytea decrypts nothing");
	like($ask->("$before SELECT chatcrypt.encrypt(2, 6, 'x');"), $nobody, "after $way nothing is encrypted");
	like($ask->("$before INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(2), 'x');"), $nobody, "after $way no message is written");
	like($ask->("$before SELECT chatcrypt.put_message(chatcrypt.to_uuid(2), chatcrypt.to_uuid(21), 'x');"), $nobody, "after $way no message is replaced");
	like($ask->("$before SELECT chatcrypt.add_participant(2, 'eve');"), $nobody, "after $way nobody is added to a chat");
	like($ask->("$before SELECT chatcrypt.delete_attachment(31);"), $nobody, "after $way no file is deleted");
	like($ask->("$before SELECT chatcrypt.read_attachment(31);"), $nobody, "after $way no file is read");
	is($ask->("$before $act $messages"), '1', "after $way the same actor may be named again");
	like($ask->("$before SELECT FROM chatcrypt.act_as('bob'); $messages"), qr/ERROR:  this transaction acts for somebody else/, "after $way no other actor may be named");
	is($ask->("$before ROLLBACK; BEGIN; SELECT FROM chatcrypt.act_as('bob'); $messages"), '2', "after $way the next transaction may name another");
}

# Like as_app(), but past an error from which the request itself recovers.
sub as_app_quietly
{
	my ($sql) = @_;
	my ($status, $rows, $errors) = $node->psql('postgres', $sql, on_error_stop => 0, extra_params => [ '-U', 'app' ]);
	my @errors = grep { !/division by zero/ } $errors =~ /(ERROR:.*)/g;
	return $errors[0] // $rows;
}

# COMMIT and ROLLBACK in a procedure.
foreach my $end ('COMMIT', 'ROLLBACK')
{
	as_app("CREATE OR REPLACE PROCEDURE goes_on(OUT before bigint, OUT after bigint) LANGUAGE plpgsql AS \$\$
		BEGIN
			PERFORM chatcrypt.act_as('alice');
			SELECT count(*) INTO before FROM chatcrypt.messages;
			$end;
			SELECT count(*) INTO after FROM chatcrypt.messages;
		END \$\$");
	is(as_app('CALL goes_on(NULL, NULL)'), '1|0', "after $end in a procedure nothing is shown until an actor is named again");
	as_app("CREATE OR REPLACE PROCEDURE goes_on(OUT before bigint, OUT after bigint) LANGUAGE plpgsql AS \$\$
		BEGIN
			PERFORM chatcrypt.act_as('alice');
			SELECT count(*) INTO before FROM chatcrypt.messages;
			$end;
			PERFORM chatcrypt.act_as('bob');
			SELECT count(*) INTO after FROM chatcrypt.messages;
		END \$\$");
	is(as_app('CALL goes_on(NULL, NULL)'), '1|2', "after $end in a procedure the next transaction may name another actor");
	is(as_app("CALL goes_on(NULL, NULL) \\g /dev/null\n$messages"), '2', "what a procedure with $end left ends with the CALL");
	as_app("CREATE OR REPLACE PROCEDURE goes_on(OUT before bigint, OUT after bigint) LANGUAGE plpgsql AS \$\$
		BEGIN
			PERFORM chatcrypt.act_as('alice');
			SELECT count(*) INTO before FROM chatcrypt.messages;
			$end;
			$end;
			SELECT count(*) INTO after FROM chatcrypt.messages;
		END \$\$");
	is(as_app('CALL goes_on(NULL, NULL)'), '1|0', "after $end in a procedure, and a second one, nothing is shown either");
}
as_app(q{CREATE PROCEDURE fails() LANGUAGE plpgsql AS $$ BEGIN PERFORM chatcrypt.act_as('alice'); COMMIT; RAISE 'failed'; END $$});
{
	my $open = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
	like(answer($open, 'CALL fails()'), qr/failed/, 'a procedure fails after its COMMIT');
	is(answer($open, $messages), '2',
		'the next statement of a session after the procedure failed has no actor and sees all');
	$open->quit;
}

# Naming another actor in the same transaction.
like(as_app("BEGIN; $act SELECT FROM chatcrypt.act_as('bob'); $body"), qr/ERROR:  this transaction acts for somebody else/, 'a transaction has one actor');
is(as_app("BEGIN; $act $act $messages"), '1', 'the same actor may be named twice in a transaction');
is(as_app(qq{BEGIN; $act SAVEPOINT s; SELECT FROM chatcrypt.act_as('alice'); ROLLBACK TO s; $messages}), '1',
	'a savepoint after the actor was named does not drop the actor');

is(as_app("BEGIN; SELECT FROM enter('alice'); $messages"), '1',
	'an actor that a function with a SET clause names outlasts the function');

# Parallel workers.  The leader takes no part in the scan: it would read these few rows before a
# worker has started.
my $parallel = <<'SQL';
SET parallel_leader_participation = off; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
SELECT FROM set_config((SELECT name FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query')), 'on', false);
SQL
like(as_app("$parallel EXPLAIN $messages"), qr/Workers Planned/, 'the counting is done by parallel workers');
is(as_app("$parallel BEGIN; $act $messages"), '1', 'parallel workers know the actor');
is(as_app("$parallel BEGIN; SAVEPOINT s; $act ROLLBACK TO s; $messages"), '0', 'parallel workers know that the transaction lost its actor');
like(as_app("$parallel BEGIN; SAVEPOINT s; $act ROLLBACK TO s; $note"), $nobody,
	'parallel workers decrypt nothing in a transaction that lost its actor');
is(as_app("$parallel BEGIN; SAVEPOINT s; $act ROLLBACK TO s; $messages $act $messages"), "0\n1",
	'parallel workers know the actor when it is named again');
is(as_app("$parallel BEGIN; SAVEPOINT s; $act ROLLBACK TO s; $messages ROLLBACK; $messages"), "0\n2",
	'parallel workers know that the next transaction never had the lost actor');

# Cursors.
is(as_app("BEGIN; SAVEPOINT s; $act ROLLBACK TO s; DECLARE c CURSOR WITH HOLD FOR SELECT body FROM chatcrypt.messages; COMMIT; FETCH ALL FROM c"), '',
	'a cursor WITH HOLD of a transaction that lost its actor holds nothing');
is(as_app("BEGIN; DECLARE c CURSOR FOR SELECT body FROM chatcrypt.messages; $act FETCH ALL FROM c"), 'for alice and bob',
	'a cursor that was declared before the actor was named shows what the actor may see');
is(as_app("BEGIN; SAVEPOINT s; $act DECLARE c CURSOR FOR SELECT body FROM chatcrypt.messages; ROLLBACK TO s; DECLARE c CURSOR FOR SELECT body FROM chatcrypt.messages; FETCH ALL FROM c"), '',
	'a cursor that is declared after the rollback of its actor shows nothing');

# Prepared transactions.
is(as_app("BEGIN; SAVEPOINT s; $act ROLLBACK TO s; $messages PREPARE TRANSACTION 'lost'; COMMIT PREPARED 'lost'; BEGIN; SELECT FROM chatcrypt.act_as('bob'); $messages"), "0\n2",
	'PREPARE TRANSACTION ends what a transaction remembers of its actor');

# Functions that run as another role.
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION note_of_all() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT chatcrypt.decrypt(chat, note, envelope) FROM notes';
CREATE FUNCTION body_of_all() RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(21)';
SQL
is(as_app('SELECT note_of_all(), body_of_all()'), 'a note|for bob', 'SECURITY DEFINER functions of a superuser see all without an actor');
foreach my $call ('note_of_all()', 'body_of_all()')
{
	like(as_app("BEGIN; SAVEPOINT s; $act ROLLBACK TO s; SELECT $call"), $nobody,
		"$call, SECURITY DEFINER, decrypts nothing after the actor was rolled back");
}

# ---------- chatcrypt.require_actor ----------

# The setting belongs to the role that logs in: a superuser sets it, and no other role can remove
# it.
$node->safe_psql('postgres', 'ALTER ROLE app SET chatcrypt.require_actor = on');
is(as_app('SHOW chatcrypt.require_actor'), 'on', 'ALTER ROLE … SET holds from the next log-in');
like(as_app($_), qr/permission denied to set parameter "chatcrypt.require_actor"/,
	"the role may not turn require_actor off: $_")
  foreach 'SET chatcrypt.require_actor = off', 'RESET chatcrypt.require_actor', 'BEGIN; SET LOCAL chatcrypt.require_actor = off',
  q{SELECT set_config('chatcrypt.require_actor', 'off', true)}, 'ALTER ROLE app SET chatcrypt.require_actor = off',
  q{CREATE FUNCTION off() RETURNS int LANGUAGE sql SET chatcrypt.require_actor = off AS 'SELECT 1'};
is(as_app("$_; SHOW chatcrypt.require_actor"), 'on',
	"$_ leaves require_actor on") foreach 'RESET ALL', 'DISCARD ALL', 'ALTER ROLE app RESET ALL';
is(as_app('SHOW chatcrypt.require_actor'), 'on', 'require_actor is on for the next log-in');
{
	local $ENV{PGOPTIONS} = '-c chatcrypt.require_actor=off';
	my ($status, $rows, $errors) = $node->psql('postgres', 'SELECT 1', extra_params => [ '-U', 'app' ]);
	like($errors, qr/permission denied to set parameter "chatcrypt.require_actor"/,
		'options of the connection do not turn require_actor off');
}

# Where the actor is forgotten, nothing is shown, and nothing is written.
foreach my $relation ('chatcrypt.messages', 'chatcrypt.sealed_message', 'chatcrypt.wire_messages', 'chatcrypt.attachments', 'chatcrypt.sealed_attachment', 'chatcrypt.sealed_attachment_part')
{
	is(as_app("SELECT count(*) FROM $relation"), '0', "without an actor $relation shows nothing") unless $relation eq 'chatcrypt.sealed_attachment_part';
	is(as_app("SELECT count(*) FROM (SELECT FROM $relation) AS r"), '0', "without an actor $relation shows no row");
}
like(as_app($_), $nobody, "without an actor this is refused: $_") foreach
  $note, 'SELECT chatcrypt.decrypt_bytea(chat, note, envelope) FROM notes', 'SELECT chatcrypt.try_decrypt(chat, note, envelope) FROM notes',
  q{SELECT chatcrypt.encrypt(2, 6, 'x')}, q{SELECT chatcrypt.encrypt(2, 6, '\x00'::bytea)}, q{SELECT chatcrypt_internal.message_body(chatcrypt.to_uuid(2), chatcrypt.to_uuid(5), now(), 'bob', envelope) FROM notes},
  q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(2), 'x')}, q{SELECT chatcrypt.put_message(chatcrypt.to_uuid(2), chatcrypt.to_uuid(22), 'x')},
  qq{COPY chatcrypt.messages (chat_id, body) FROM stdin;\n00000000-0000-8000-8000-000000000002\tx\n\\.\n},
  q{SELECT chatcrypt.accept_wire_message(2, '{"encrypted": false, "content": "x"}')}, 'SELECT chatcrypt.conversation_key(2)',
  q{SELECT chatcrypt.put_attachment(2, 32, 'x')}, 'SELECT chatcrypt.begin_attachment(2, 34)', 'SELECT chatcrypt.read_attachment(31)', 'SELECT chatcrypt.read_attachment_part(31, 0)',
  'SELECT chatcrypt.delete_attachment(31)', 'SELECT chatcrypt.attachment_progress(31)', q{SELECT chatcrypt.put_attachment_part(31, 0, 'x')}, 'SELECT chatcrypt.finish_attachment(31)',
  q{SELECT chatcrypt.encrypt_attachment(2, 33, 'x')}, q{SELECT chatcrypt.decrypt_attachment(2, 33, 'x')}, 'SELECT chatcrypt.ensure_attachment_key(2)',
  q{SELECT chatcrypt.search(2, 'bob')}, q{SELECT chatcrypt.search_tokens(2, 'bob')}, 'SELECT (chatcrypt.warm_keys(ARRAY[2::bigint])).warmed',
  'SELECT chatcrypt.create_chat(3)', 'SELECT chatcrypt.create_chats(ARRAY[3::bigint])', q{SELECT chatcrypt.add_participant(2, 'eve')}, q{SELECT chatcrypt.remove_participant(2, 'bob')};
is(as_app('UPDATE chatcrypt.messages SET expires_at = now(); DELETE FROM chatcrypt.messages;') . ask($node, 'SELECT count(*) FROM chatcrypt.messages'), '2',
	'without an actor no message is changed or deleted');
is(as_app('SELECT chatcrypt.may_see(chatcrypt.to_uuid(1))'), 'f',
	'may_see() is false without an actor');
is(as_app("BEGIN; $act $messages $body SELECT chatcrypt.decrypt(1, 7, chatcrypt.encrypt(1, 7, 'open')); COMMIT"), "1\nopen",
	'a transaction with an actor works where require_actor is on');

# A transaction pooler gives the same session to one client after the other.
{
	my $pooled = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
	is(answer($pooled, "BEGIN; $act $messages COMMIT"), '1', 'the first client of a pooled session acts for alice');
	is(answer($pooled, $messages), '0', 'the second client names no actor, and sees nothing');
	is(answer($pooled, "BEGIN; SELECT FROM chatcrypt.act_as('bob'); $messages COMMIT"), '2',
		'the third client acts for bob');
	is(answer($pooled, "BEGIN; SELECT FROM chatcrypt.act_as('bob'); SELECT chatcrypt.may_see(2); COMMIT"), 't', 'bob may see a chat');
	is(answer($pooled, "BEGIN; $act SELECT chatcrypt.may_see(2); COMMIT"), 'f',
		'the next client, who acts for alice, may not see the chat of bob');
	is(answer($pooled, "BEGIN; $act COMMIT AND CHAIN; $messages COMMIT"), '0', 'COMMIT AND CHAIN begins a transaction without an actor');
	is(answer($pooled, "BEGIN; $act ROLLBACK AND CHAIN; $messages COMMIT"), '0',
		'ROLLBACK AND CHAIN begins a transaction without an actor');
	is(answer($pooled, "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT body FROM chatcrypt.messages; COMMIT; FETCH ALL FROM c"), '', 'a cursor WITH HOLD without an actor holds nothing');
	answer($pooled, "BEGIN; $act DECLARE kept CURSOR WITH HOLD FOR SELECT body FROM chatcrypt.messages; COMMIT");
	is(answer($pooled, 'FETCH ALL FROM kept'), 'for alice and bob',
		'a cursor WITH HOLD of an actor keeps what the actor saw');
	answer($pooled, 'DISCARD ALL');
	like(answer($pooled, 'FETCH ALL FROM kept'), qr/cursor "kept" does not exist/,
		'DISCARD ALL closes the cursor of the actor');
	is(answer($pooled, "BEGIN; $act PREPARE TRANSACTION 'pooled'; $messages"), '0', 'after PREPARE TRANSACTION there is no actor');
	is(answer($pooled, "COMMIT PREPARED 'pooled'; $messages"), '0',
		'after COMMIT PREPARED there is no actor');
	answer($pooled, 'PREPARE bodies AS SELECT body FROM chatcrypt.messages ORDER BY body');
	is(answer($pooled, "BEGIN; $act EXECUTE bodies; COMMIT"), 'for alice and bob', 'a prepared statement shows what the actor may see');
	is(answer($pooled, 'EXECUTE bodies'), '',
		'a prepared statement shows nothing without an actor');
	$pooled->quit;
}
is(as_app("$parallel $messages"), '0', 'parallel workers know require_actor');
like(as_app("$parallel $note"), $nobody, 'parallel workers decrypt nothing without an actor');
as_app(q{CREATE OR REPLACE PROCEDURE goes_on(OUT before bigint, OUT after bigint) LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM chatcrypt.act_as('alice');
		SELECT count(*) INTO before FROM chatcrypt.messages;
		COMMIT;
		SELECT count(*) INTO after FROM chatcrypt.messages;
	END $$});
is(as_app('CALL goes_on(NULL, NULL)'), '1|0',
	'after COMMIT in a procedure nothing is shown without an actor');

# Other rights do not lift the requirement, and neither does becoming another role.
$node->safe_psql('postgres', 'CREATE ROLE plain; GRANT chatcrypt_writer, chatcrypt_reader TO plain; GRANT plain TO app; GRANT ALL ON notes TO plain');
is(as_app("SET ROLE plain; $messages"), '0',
	'SET ROLE to a role without the setting does not lift require_actor');
like(as_app("SET ROLE plain; $note"), $nobody,
	'SET ROLE to a role without the setting does not lift require_actor for decrypt()');
like(as_app("SELECT $_"), $nobody,
	"$_, SECURITY DEFINER of a superuser, does not lift require_actor") foreach 'note_of_all()', 'body_of_all()';
$node->safe_psql('postgres', 'ALTER ROLE app BYPASSRLS');
is(as_app($messages), '2', 'a role with BYPASSRLS sees rows without an actor');
like(as_app($body), $nobody, 'a role with BYPASSRLS sees no body without an actor');
like(as_app(q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(2), 'x')}), $nobody,
	'a role with BYPASSRLS writes nothing without an actor');
$node->safe_psql('postgres', 'ALTER ROLE app NOBYPASSRLS SUPERUSER');
is(as_app($messages), '2', 'a superuser sees rows without an actor');
like(as_app($body), $nobody, 'a superuser sees no body without an actor');
like(as_app($note), $nobody, 'a superuser decrypts nothing without an actor');
like(as_app(q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(2), 'x')}), $nobody,
	'a superuser writes nothing without an actor');
$node->safe_psql('postgres', 'ALTER ROLE app NOSUPERUSER');

# A role that may SET ROLE to app is not bound by the setting of app; doctor() says so.
$node->safe_psql('postgres', 'CREATE ROLE heir LOGIN; GRANT app TO heir');
is(as_role('heir', $messages), '2',
	'a member of the role is not bound by the setting when it logs in itself');
like(ask($node, q{SELECT string_agg(severity || ': ' || what, '; ') FROM chatcrypt.doctor() WHERE finding = 'require_actor_inherited'}), qr/^critical: .*\bheir\b/,
	'doctor() finds a member without the setting critical');
$node->safe_psql('postgres', 'ALTER ROLE heir SET chatcrypt.require_actor = on');
is(ask($node, q{SELECT count(*) FROM chatcrypt.doctor() WHERE finding = 'require_actor_inherited'}), '0',
	'doctor() has no finding when the member has the setting too');

# doctor() advises the setting for a role that acts for others without it, by what that role has
# done.
my $advice = q{SELECT string_agg(severity || ': ' || what, '; ') FROM chatcrypt.doctor() WHERE finding = 'require_actor_advised'};
$node->safe_psql('postgres', 'CREATE ROLE adviser LOGIN; GRANT chatcrypt_reader TO adviser');
is(as_role('adviser', $messages), '2', 'a role reads without an actor');
unlike(ask($node, $advice), qr/adviser/, 'doctor() has no advice for a role that has never called act_as()');
$node->safe_psql('postgres', q{BEGIN; SELECT chatcrypt.act_as('alice'); COMMIT}, extra_params => [ '-U', 'adviser' ]);
like(ask($node, $advice), qr/^warning: .*\badviser\b/,
	'doctor() advises chatcrypt.require_actor for a role that has called act_as()');
unlike(ask($node, $advice), qr/postgres|\bapp\b/,
	'doctor() has no advice for a superuser or for a role that has the setting');
$node->safe_psql('postgres', 'ALTER ROLE adviser SET chatcrypt.require_actor = on');
is(ask($node, $advice), '', 'doctor() has no advice when the role has the setting');

# What acts for no user works on, also where the setting is on for every role: maintenance, foreign
# keys, and changes that a subscription applies.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE likes (message_id uuid REFERENCES chatcrypt.sealed_message ON DELETE CASCADE, by_whom text);
GRANT ALL ON likes TO app;
ALTER SYSTEM SET chatcrypt.require_actor = on;
ALTER SYSTEM SET chatcrypt.maintenance_databases = 'postgres';
UPDATE chatcrypt.tenant SET reencrypt_after = '1 microsecond';
SELECT chatcrypt.rotate_chat(2), pg_reload_conf();
SQL
ok(wait_until(30, sub { ask($node, 'SHOW chatcrypt.require_actor') eq 'on' }),
	'require_actor is on for every role');
like(ask($node, 'CALL chatcrypt.reencrypt_chat(2)'), $nobody,
	'a superuser re-encrypts nothing without an actor where require_actor is on for every role');
is(ask($node, 'CALL chatcrypt.run_maintenance()'), '',
	'a round of maintenance runs where require_actor is on for every role');
is(ask($node, 'SELECT dek_version FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(21)'), '2',
	'maintenance re-encrypts without an actor');
is(as_app(qq{INSERT INTO likes VALUES (chatcrypt.to_uuid(21), 'carol'); SELECT count(*) FROM likes}), '1', 'a foreign key to a message is checked without an actor');
like(as_app(qq{INSERT INTO likes VALUES (chatcrypt.to_uuid(99), 'carol')}), qr/violates foreign key constraint/,
	'a foreign key to a message is found violated without an actor');

my $subscriber = Chatcrypt::Test->start('subscriber', keys => keys_of($node), conf => "chatcrypt.require_actor = on\n");
$node->safe_psql('postgres', 'CREATE PUBLICATION everything FOR TABLES IN SCHEMA chatcrypt');
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION everything CONNECTION '" . $node->connstr . " dbname=postgres' PUBLICATION everything");
$subscriber->wait_for_subscription_sync($node, 'everything');
as_app("BEGIN; $act INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(12), chatcrypt.to_uuid(1), 'another'); COMMIT");
as_app("BEGIN; $act UPDATE chatcrypt.messages SET body = 'another one' WHERE message_id = chatcrypt.to_uuid(12); COMMIT");
as_app("BEGIN; $act DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(11); COMMIT");
$node->wait_for_catchup('everything');
is(ask($subscriber, "BEGIN; $act SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(1)"), 'another one', 'a subscription applies messages without an actor');
like(ask($subscriber, $body), $nobody, 'the subscriber shows no message without an actor');

$_->stop foreach $subscriber, $node;
done_testing();
