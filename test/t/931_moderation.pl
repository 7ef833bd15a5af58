# Attacks by one participant on what another wrote.  carol takes part in a chat with alice and bob;
# a service that acts for her is the role "app", or a role to which policies do not apply.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('moderation');

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN;
CREATE ROLE chief LOGIN SUPERUSER;
CREATE ROLE manager LOGIN;
GRANT chatcrypt_writer, chatcrypt_reader TO app, manager;
GRANT chatcrypt_admin TO manager;
GRANT CREATE ON SCHEMA public TO app;
SELECT chatcrypt.create_chat(n, ARRAY['alice', 'bob', 'carol']) FROM unnest(ARRAY[1, 2]::bigint[]) AS n;
SQL

# The rows, or else the first line of the error, for an actor.  The attempt is rolled back.
sub attempt
{
	my ($role, $actor, $sql) = @_;
	my ($status, $rows, $errors) = $node->psql('postgres', "BEGIN; SELECT FROM chatcrypt.act_as('$actor'); $sql; ROLLBACK;", extra_params => [ '-U', $role ]);
	return $errors =~ /((?:ERROR|FATAL):.*)/ ? $1 : $rows;
}

sub as_role
{
	my ($role, $sql) = @_;
	my ($status, $rows, $errors) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ]);
	return $errors =~ /((?:ERROR|FATAL):.*)/ ? $1 : $rows;
}

# Messages 11 (of alice), 12 (of carol) and 13 (without a sender) of chat 1, and files of alice, one
# of which is being uploaded.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body, created_at) VALUES
	(chatcrypt.to_uuid(11), chatcrypt.to_uuid(1), 'alice', 'by alice', '2026-01-01'),
	(chatcrypt.to_uuid(12), chatcrypt.to_uuid(1), 'carol', 'by carol', '2026-01-01'),
	(chatcrypt.to_uuid(13), chatcrypt.to_uuid(1), NULL, 'by nobody', '2026-01-01');
SELECT chatcrypt.put_attachment(1, 21, 'a file', sender => 'alice'), chatcrypt.begin_attachment(1, 22, sender => 'alice', part_size => 16384),
	chatcrypt.put_attachment_part(22, 0, 'a part', true), chatcrypt.put_attachment(1, 23, 'a file', sender => 'carol');
SQL

my $not_the_actor = qr/^ERROR:  the sender is not the current actor/;
my $not_the_actors = qr/^ERROR:  the (?:message|attachment) is not the current actor's/;
my $sender_of = 'SELECT sender FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(14)';

foreach my $role ('app', 'chief')
{
	my $as = $role eq 'app' ? 'to a participant' : 'to a participant, for whom a superuser acts,';

	# The sender is the actor that writes.
	like(attempt($role, 'carol', $_), $not_the_actor,
		"$as it is refused to forge a sender: $_") foreach
	  q{INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES (chatcrypt.to_uuid(1), 'alice', 'forged')},
	  qq{COPY chatcrypt.messages (chat_id, sender, body) FROM stdin;\n00000000-0000-8000-8000-000000000001\talice\tforged\n\\.\n},
	  q{SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(14), 'forged', 'alice')},
	  q{SELECT chatcrypt.accept_wire_message(1, '{"encrypted": false, "content": "forged", "sender": "alice"}')},
	  q{SELECT chatcrypt.put_attachment(1, 24, 'forged', sender => 'alice')},
	  q{SELECT chatcrypt.begin_attachment(1, 24, sender => 'alice')},
	  q{UPDATE chatcrypt.messages SET sender = 'alice' WHERE message_id = chatcrypt.to_uuid(12)},
	  q{UPDATE chatcrypt.messages SET sender = NULL WHERE message_id = chatcrypt.to_uuid(12)};
	is(attempt($role, 'carol', "INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(14), chatcrypt.to_uuid(1), 'x'); $sender_of"), 'carol', "$as the sender that is left out is the actor: INSERT");
	is(attempt($role, 'carol', qq{COPY chatcrypt.messages (message_id, chat_id, body) FROM stdin;\n00000000-0000-8000-8000-00000000000e\t00000000-0000-8000-8000-000000000001\tx\n\\.\n$sender_of}), 'carol', "$as the sender that is left out is the actor: COPY");
	is(attempt($role, 'carol', "SELECT FROM chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(14), 'x'); $sender_of"), 'carol', "$as the sender that is left out is the actor: put_message()");
	is(attempt($role, 'carol', "SELECT FROM chatcrypt.put_attachment(1, 24, 'x'); SELECT sender FROM chatcrypt.attachments WHERE file_id = chatcrypt.to_uuid(24)"), 'carol', "$as the sender that is left out is the actor: put_attachment()");
	is(attempt($role, 'carol', "SELECT FROM chatcrypt.begin_attachment(1, 24); SELECT sender FROM chatcrypt.sealed_attachment WHERE file_id = chatcrypt.to_uuid(24)"), 'carol', "$as the sender that is left out is the actor: begin_attachment()");
	is(attempt($role, 'carol', q{INSERT INTO chatcrypt.messages (chat_id, sender, body) VALUES (chatcrypt.to_uuid(1), 'carol', 'x') RETURNING sender}), 'carol',
		"$as it is allowed to name the actor itself as the sender");

	# The time is that of the server.
	is(attempt($role, 'carol', q{INSERT INTO chatcrypt.messages (chat_id, body, created_at) VALUES (chatcrypt.to_uuid(1), 'x', '2020-01-01') RETURNING created_at = now()}), 't', "$as created_at is now(): INSERT");
	is(attempt($role, 'carol', q{SELECT FROM chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(14), 'x', created_at => '2020-01-01'); SELECT created_at = now() FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(14)}), 't', "$as created_at is now(): put_message()");
	like(attempt($role, 'carol', q{UPDATE chatcrypt.messages SET created_at = '2020-01-01' WHERE message_id = chatcrypt.to_uuid(12)}), qr/^ERROR:  an actor cannot change created_at/, "$as it is refused to change created_at");

	# What another participant sent, or nobody, stays unchanged.
	like(attempt($role, 'carol', $_), qr/$not_the_actors|violates row-level security policy/,
		"$as it is refused to change what others sent: $_") foreach
	  q{UPDATE chatcrypt.messages SET body = 'forged' WHERE message_id = chatcrypt.to_uuid(11)},
	  q{UPDATE chatcrypt.messages SET body = 'forged' WHERE message_id = chatcrypt.to_uuid(13)},
	  q{UPDATE chatcrypt.messages SET body = 'forged', sender = 'carol' WHERE message_id = chatcrypt.to_uuid(11)},
	  q{UPDATE chatcrypt.messages SET expires_at = now() WHERE message_id = chatcrypt.to_uuid(11)},
	  q{UPDATE chatcrypt.messages SET chat_id = chatcrypt.to_uuid(2) WHERE message_id = chatcrypt.to_uuid(11)},
	  q{SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(11), 'forged')},
	  q{SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(13), 'forged')},
	  'SELECT chatcrypt.delete_attachment(21)', q{SELECT chatcrypt.put_attachment_part(22, 0, 'forged', true)}, 'SELECT chatcrypt.finish_attachment(22)';

	# The actor may change and delete what it sent.
	is(attempt($role, 'carol', "UPDATE chatcrypt.messages SET body = 'edited', expires_at = 'infinity' WHERE message_id = chatcrypt.to_uuid(12) RETURNING sender, body"), 'carol|edited',
		"$as it is allowed to UPDATE its own message");
	is(attempt($role, 'carol', "UPDATE chatcrypt.messages SET chat_id = chatcrypt.to_uuid(2) WHERE message_id = chatcrypt.to_uuid(12) RETURNING sender, body"), 'carol|by carol',
		"$as it is allowed to UPDATE the chat of its own message");
	is(attempt($role, 'carol', "SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(12), 'edited')"), 't',
		"$as it is allowed to change its own message by put_message()");
	is(attempt($role, 'carol', 'DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(12) RETURNING sender'), 'carol',
		"$as it is allowed to DELETE its own message");
	is(attempt($role, 'carol', 'SELECT chatcrypt.delete_attachment(23)'), 't',
		"$as it is allowed to delete its own file");
	is(attempt($role, 'alice', 'SELECT chatcrypt.put_attachment_part(22, 0, $$other$$, true), chatcrypt.finish_attachment(22)'), '|5',
		"$as it is allowed to continue its own upload");

	# Participation.
	like(attempt($role, 'carol', q{SELECT chatcrypt.remove_participant(1, 'alice')}), qr/^ERROR:  the current actor may not remove somebody else from this chat/,
		"$as it is refused to remove another participant") if $role eq 'app';
	like(attempt($role, 'carol', q{SELECT chatcrypt.set_participants(1, ARRAY['alice', 'carol'])}), qr/^ERROR:  the current actor may not remove somebody else from this chat/,
		"$as it is refused to leave another participant out of the list") if $role eq 'app';
	is(attempt($role, 'carol', q{SELECT chatcrypt.set_participants(1, ARRAY['alice', 'bob', 'dave'])}), '2',
		"$as it is allowed to leave itself out of the list, and to add another");
	is(attempt($role, 'carol', q{SELECT chatcrypt.remove_participant(1, 'carol')}), 't', "$as it is allowed to leave");
}
is(attempt('app', 'carol', 'DELETE FROM chatcrypt.messages RETURNING sender'), 'carol', 'a DELETE of all messages deletes those of the actor');
is(attempt('app', 'carol', q{DELETE FROM chatcrypt.sealed_message RETURNING sender}), 'carol',
	'a DELETE of all rows of the table deletes those of the actor');
is(attempt('app', 'carol', q{UPDATE chatcrypt.sealed_message SET expires_at = now() RETURNING sender}), 'carol', 'an UPDATE of the table changes messages of the actor');
is(attempt('app', 'carol', q{SELECT sender FROM chatcrypt.messages FOR UPDATE}), 'carol',
	'SELECT … FOR UPDATE locks messages of the actor');
is(attempt('manager', 'carol', q{SELECT chatcrypt.remove_participant(1, 'alice')}), 't',
	'a role of administration removes any participant, whatever actor it names');

# Past the view: only the trigger of the view writes these columns.
foreach my $sql (
	q{UPDATE chatcrypt.sealed_message SET sender = 'bob'}, q{UPDATE chatcrypt.sealed_message SET created_at = now()}, q{UPDATE chatcrypt.sealed_message SET chat_id = chatcrypt.to_uuid(2)},
	q{UPDATE chatcrypt.sealed_message SET message_id = chatcrypt.to_uuid(15)}, q{UPDATE chatcrypt.sealed_message SET encrypted_message = NULL, dek_version = NULL},
	q{INSERT INTO chatcrypt.sealed_message (message_id, chat_id, sender) VALUES (chatcrypt.to_uuid(15), chatcrypt.to_uuid(1), 'alice')},
	q{INSERT INTO chatcrypt.sealed_message AS m (message_id, chat_id) VALUES (chatcrypt.to_uuid(11), chatcrypt.to_uuid(1)) ON CONFLICT (message_id) DO UPDATE SET expires_at = now()},
	qq{COPY chatcrypt.sealed_message (message_id, chat_id, sender) FROM stdin;\n00000000-0000-8000-8000-00000000000f\t00000000-0000-8000-8000-000000000001\talice\n\\.\n})
{
	like(as_role('app', "BEGIN; $sql; ROLLBACK"), qr/permission denied for table sealed_message/, "to a role that writes it is refused: $sql");
}

# Without an actor, a service that imports messages says who sent them, and when.
is(as_role('app', q{BEGIN; INSERT INTO chatcrypt.messages (chat_id, sender, body, created_at) VALUES (chatcrypt.to_uuid(1), 'dave', 'old', '2020-01-01') RETURNING sender, extract(year FROM created_at); ROLLBACK}), 'dave|2020',
	'without an actor, sender and time are those given');

# The policy of the chat lets its participants moderate.
is(as_role('manager', q{UPDATE chatcrypt.chat SET moderation = 'participants' WHERE chat_id = chatcrypt.to_uuid(1)}), '', 'an administrator lets participants moderate');
like(as_role('manager', q{UPDATE chatcrypt.chat SET moderation = 'anybody'}), qr/violates check constraint/,
	'a moderation policy that does not exist is refused');
like(as_role('app', q{UPDATE chatcrypt.chat SET moderation = 'participants'}), qr/permission denied/,
	'a service may not set the moderation policy');
like(ask($node, q{SELECT detail FROM chatcrypt.key_event WHERE event = 'policy'}), qr/moderation: own -> participants/,
	'the history has the change of the moderation policy');
foreach my $role ('app', 'chief')
{
	is(attempt($role, 'carol', "UPDATE chatcrypt.messages SET body = 'moderated' WHERE message_id = chatcrypt.to_uuid(11) RETURNING sender, body"), 'alice|moderated',
		"a moderator changes what alice sent, and alice stays the sender ($role)");
	is(attempt($role, 'carol', "UPDATE chatcrypt.messages SET body = 'moderated' WHERE message_id = chatcrypt.to_uuid(13) RETURNING sender, body"), '|moderated',
		"a moderator changes what was sent without a sender ($role)");
	is(attempt($role, 'carol', q{SELECT FROM chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(11), 'moderated'); SELECT sender, body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(11)}), 'alice|moderated',
		"a moderator changes what alice sent by put_message() ($role)");
	like(attempt($role, 'carol', q{UPDATE chatcrypt.messages SET sender = 'bob' WHERE message_id = chatcrypt.to_uuid(11)}), $not_the_actor, "a moderator cannot make another the sender ($role)");
	like(attempt($role, 'carol', q{UPDATE chatcrypt.messages SET chat_id = chatcrypt.to_uuid(2) WHERE message_id = chatcrypt.to_uuid(11)}), qr/$not_the_actors|violates row-level security policy/,
		"a moderator cannot move a message to a chat without moderators ($role)");
	is(attempt($role, 'carol', q{DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(11) RETURNING sender}), 'alice',
		"a moderator deletes what alice sent ($role)");
	is(attempt($role, 'carol', q{SELECT chatcrypt.delete_attachment(21), chatcrypt.finish_attachment(22)}), 't|6',
		"a moderator deletes and finishes files of alice ($role)");
	is(attempt($role, 'carol', q{SELECT chatcrypt.remove_participant(1, 'alice')}), 't',
		"a moderator removes alice from the chat ($role)");
	like(attempt($role, 'eve', q{SELECT chatcrypt.remove_participant(1, 'alice')}), qr/not a participant/,
		"an actor who is no participant does not remove alice ($role)");
}
my $open = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
answer($open, q{BEGIN; SELECT FROM chatcrypt.act_as('carol')});
is(answer($open, 'SELECT chatcrypt.may_change(chatcrypt.to_uuid(1), $$alice$$)'), 't', 'an open transaction may change what alice sent');
ask($node, q{UPDATE chatcrypt.chat SET moderation = 'own'});
is(answer($open, 'SELECT chatcrypt.may_change(chatcrypt.to_uuid(1), $$alice$$)'), 'f',
	'an open transaction may not change what alice sent after the policy changed');
is(answer($open, 'SELECT chatcrypt.may_change(chatcrypt.to_uuid(1), $$carol$$), chatcrypt.may_change(chatcrypt.to_uuid(1), NULL), chatcrypt.may_change(NULL, $$carol$$)'), 't|f|',
	'an actor may change what it sent, but not what was sent without a sender');
answer($open, 'ROLLBACK');
is(answer($open, 'SELECT chatcrypt.may_change(chatcrypt.to_uuid(1), $$alice$$)'), 't', 'may_change() is true without an actor');
$open->quit;

# The trigger writes with a right that holds for its own statement alone, and not for other code
# that runs in between; and the role that writes stays the same.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE audit (who text);
GRANT INSERT ON audit TO app;
CREATE FUNCTION note_writer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO audit VALUES (current_user);
	RETURN new;
END $$;
CREATE TRIGGER note_writer BEFORE INSERT OR UPDATE ON chatcrypt.sealed_message FOR EACH ROW EXECUTE FUNCTION note_writer();
SQL
my $three_writes = q{INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(16), chatcrypt.to_uuid(1), 'x');
	UPDATE chatcrypt.messages SET body = 'y' WHERE message_id = chatcrypt.to_uuid(16); SELECT FROM chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(16), 'z');};
like(attempt('app', 'carol', "$three_writes RESET ROLE"), qr/^$/,
	'a trigger on the table records the role that writes');
as_role('app', "BEGIN; SELECT FROM chatcrypt.act_as('carol'); $three_writes COMMIT");
is(ask($node, 'SELECT DISTINCT who FROM audit'), 'app', 'the recorded role is the one that called');
$node->safe_psql('postgres', <<'SQL');
CREATE OR REPLACE FUNCTION note_writer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF pg_trigger_depth() < 3 THEN
		INSERT INTO chatcrypt.sealed_message (message_id, chat_id, sender) VALUES (chatcrypt.new_message_id(), new.chat_id, 'alice');
	END IF;
	RETURN new;
END $$;
SQL
foreach my $sql (split /;\s*/, $three_writes)
{
	like(attempt('app', 'carol', $sql), qr/permission denied for table sealed_message/,
		"code of another role that runs in between has no right to write: $sql") unless $sql =~ /^UPDATE/;
}
like(attempt('app', 'carol', q{UPDATE chatcrypt.messages SET body = 'y' WHERE message_id = chatcrypt.to_uuid(12)}), qr/permission denied for table sealed_message/,
	'code of another role that runs in an UPDATE has no right to write');
$node->safe_psql('postgres', 'DROP TRIGGER note_writer ON chatcrypt.sealed_message');

# Policies that another role adds apply to what the trigger writes, in each of its ways.
$node->safe_psql('postgres', q{CREATE POLICY quiet ON chatcrypt.sealed_message AS RESTRICTIVE USING (dek_version IS NOT NULL OR sender = 'quiet') WITH CHECK (expires_at IS NOT NULL)});
like(attempt('app', 'carol', $_), qr/violates row-level security policy/,
	"a policy that another role added refuses: $_") foreach
  q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'x')}, q{SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(17), 'x')},
  q{UPDATE chatcrypt.messages SET body = 'x' WHERE message_id = chatcrypt.to_uuid(12)};
is(attempt('app', 'carol', q{INSERT INTO chatcrypt.messages (chat_id, body, expires_at) VALUES (chatcrypt.to_uuid(1), 'x', 'infinity') RETURNING sender}), 'carol',
	'a policy that another role added allows what it allows');
$node->safe_psql('postgres', 'DROP POLICY quiet ON chatcrypt.sealed_message');

# A read-only transaction stays read-only.
like(as_role('app', "BEGIN READ ONLY; $_"), qr/in a read-only transaction/, "in a read-only transaction it is refused: $_") foreach
  q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'x')}, q{SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(17), 'x')},
  q{SELECT chatcrypt.put_messages(ARRAY[chatcrypt.to_uuid(1)], ARRAY[chatcrypt.to_uuid(17)], ARRAY['x'], on_duplicate => 'ignore')},
  q{UPDATE chatcrypt.messages SET body = 'x' WHERE message_id = chatcrypt.to_uuid(12)}, q{SELECT chatcrypt.accept_wire_message(1, '{"encrypted": false, "content": "x"}')};

# A foreign key acts for no user: its CASCADE deletes the messages of all.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE room (chat uuid PRIMARY KEY);
INSERT INTO room SELECT chat_id FROM chatcrypt.chat;
ALTER TABLE chatcrypt.sealed_message ADD CONSTRAINT of_room FOREIGN KEY (chat_id) REFERENCES room ON DELETE CASCADE;
GRANT ALL ON room TO app;
SQL
is(as_role('app', q{BEGIN; SELECT FROM chatcrypt.act_as('carol'); DELETE FROM room WHERE chat = chatcrypt.to_uuid(1); COMMIT; SELECT count(*) FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(1)}), '0',
	'the CASCADE of a foreign key deletes messages of every sender');

$node->stop;
done_testing();
