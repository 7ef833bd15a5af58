# Attacks with actions in between: a portal that was opened before the actor was named, code of the
# owner of a table in the middle of maintenance, triggers and policies that keep a row unchanged, a
# message id that a file names before the message exists, and a plan that is made anew.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use IO::Socket::UNIX;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('between');

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN;
CREATE ROLE mallory LOGIN;
CREATE ROLE chief LOGIN SUPERUSER;
GRANT chatcrypt_writer, chatcrypt_reader TO app, mallory;
GRANT CREATE ON SCHEMA public TO mallory;
SELECT chatcrypt.create_chat(1, ARRAY['alice', 'carol']), chatcrypt.create_chat(2, ARRAY['bob']);
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (chatcrypt.to_uuid(11), chatcrypt.to_uuid(1), 'alice', 'lighthouse');
INSERT INTO chatcrypt.messages (chat_id, sender, body) SELECT chatcrypt.to_uuid(2), 'bob', 'for bob ' || n FROM generate_series(1, 3000) AS n;
ANALYZE chatcrypt.sealed_message;
SQL

sub as_app
{
	my ($sql) = @_;
	my ($status, $rows, $errors) = $node->psql('postgres', $sql, extra_params => [ '-U', 'app' ]);
	return $errors =~ /((?:ERROR|FATAL):.*)/ ? $1 : $rows;
}

# ---------- a portal ----------

# The protocol is spoken by hand, because libpq opens no portal without running it.
package Wire
{
	sub connect
	{
		my ($class, $node, $user) = @_;
		my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port) or die "cannot connect: $!";
		my $self = bless { socket => $socket }, $class;
		my $startup = pack 'NZ*Z*Z*Z*x', 196608, 'user', $user, 'database', 'postgres';

		print {$socket} pack('N', length($startup) + 4) . $startup;
		$self->answers;
		return $self;
	}

	sub message { my ($type, $content) = @_; return $type . pack('N', length($content) + 4) . $content; }

	sub take
	{
		my ($self, $length) = @_;
		my $taken = '';
		while (length $taken < $length)
		{
			read($self->{socket}, $taken, $length - length $taken, length $taken) or die 'the connection was closed';
		}
		return $taken;
	}

	# The first columns of the rows, and errors, until the server is ready.
	sub answers
	{
		my ($self) = @_;
		my @answers;
		while (1)
		{
			my ($type, $length) = unpack 'aN', $self->take(5);
			my $content = $self->take($length - 4);
			push @answers, unpack('x2N/a', $content) if $type eq 'D';
			push @answers, $content if $type eq 'E';
			return join ',', @answers if $type eq 'Z';
		}
	}

	sub send
	{
		my ($self, @messages) = @_;
		local $| = 1;
		$self->{socket}->autoflush(1);
		print { $self->{socket} } @messages;
		return $self->answers;
	}

	sub query { my ($self, $sql) = @_; return $self->send(message('Q', "$sql\0")); }

	sub open_portal
	{
		my ($self, $sql) = @_;
		return $self->send(message('P', "\0$sql\0" . pack('n', 0)), message('B', "portal\0\0" . pack('n3', 0, 0, 0)), message('S', ''));
	}

	sub run_portal { my ($self) = @_; return $self->send(message('E', "portal\0" . pack('N', 0)), message('S', '')); }
}

my $wire = Wire->connect($node, 'app');
my $count = 'SELECT count(body) FROM chatcrypt.messages';
$wire->query("SET $_") foreach 'parallel_setup_cost = 0', 'parallel_tuple_cost = 0', 'min_parallel_table_scan_size = 0', 'enable_indexscan = off',
  'enable_bitmapscan = off', 'enable_indexonlyscan = off', 'parallel_leader_participation = off';
$wire->query('BEGIN');
like($wire->query("EXPLAIN $count"), qr/Workers Planned/, 'the query of the portal is run by parallel workers');
$wire->open_portal($count);
$wire->query('SAVEPOINT s');
$wire->query(q{SELECT chatcrypt.act_as('carol')});
$wire->query('ROLLBACK TO s');
is($wire->run_portal, '0', 'a portal that was opened before an actor was named shows nothing after the actor was dropped');
$wire->query('ROLLBACK');
$wire->query('BEGIN');
$wire->open_portal($count);
$wire->query(q{SELECT chatcrypt.act_as('carol')});
is($wire->run_portal, '1', 'a portal that was opened before an actor was named shows what that actor may see');
$wire->query('ROLLBACK');

# ---------- the owner of a table ----------

$node->safe_psql('postgres', <<'SQL');
CREATE TABLE notes (note_id uuid PRIMARY KEY, chat_id uuid, note bytea);
INSERT INTO notes VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), chatcrypt.encrypt(1, 1, 'a note', 'notes'));
ALTER TABLE notes OWNER TO mallory;
SET ROLE mallory;
CREATE FUNCTION name_somebody() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM chatcrypt.act_as('eve'); RETURN new; END $$;
CREATE TRIGGER name_somebody BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION name_somebody();
RESET ROLE;
SELECT chatcrypt.register_envelopes('notes', 'note', 'chat_id', 'note_id', 'notes');
UPDATE chatcrypt.chat SET reencrypt_after = '1 microsecond';
SELECT chatcrypt.rotate_chat(1), chatcrypt.rotate_chat(2);
SQL
ask($node, 'CALL chatcrypt.reencrypt_due()');
is(ask($node, 'SELECT min(dek_version) FROM chatcrypt.sealed_message WHERE chat_id = chatcrypt.to_uuid(2)'), '2', 'an actor that a trigger of a table names does not stop the re-encryption of other chats');
$node->safe_psql('postgres', 'DROP TABLE notes');

# ---------- code that keeps a row unchanged ----------

$node->safe_psql('postgres', q{SELECT chatcrypt.set_search(1, 'blind'); CALL chatcrypt.reindex_search(1)});
my $edit = q{UPDATE chatcrypt.messages SET body = 'elsewhere' WHERE message_id = chatcrypt.to_uuid(11) RETURNING body};
my $found = q{SELECT count(*) FROM chatcrypt.search(1, 'lighthouse')};
$node->safe_psql('postgres', q{CREATE POLICY quiet ON chatcrypt.sealed_message AS RESTRICTIVE FOR UPDATE USING (sender = 'nobody')});
is(as_app($edit), '', 'an UPDATE of a row that a restrictive policy hides returns no row');
is(as_app($found), '1', 'search finds a message by its old words after a policy kept it unchanged');
$node->safe_psql('postgres', q{DROP POLICY quiet ON chatcrypt.sealed_message;
	CREATE FUNCTION keep_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
	CREATE TRIGGER keep_out BEFORE INSERT OR UPDATE ON chatcrypt.sealed_message FOR EACH ROW EXECUTE FUNCTION keep_out()});
is(as_app($edit), '', 'an UPDATE that a trigger suppresses returns no row');
is(as_app($found), '1', 'search finds a message by its old words after a trigger kept it unchanged');
is(as_app(q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'kept out') RETURNING body}), '',
	'an INSERT that a trigger suppresses returns no row');
is(ask($node, 'SELECT count(*) FROM chatcrypt.search_token WHERE message_id NOT IN (SELECT message_id FROM chatcrypt.sealed_message)'), '0',
	'search has no tokens of a message that a trigger kept out');
like(as_app("SET statement_timeout = '60s'; $_"), qr/^ERROR:  a message was neither inserted nor found/, "a trigger that keeps messages out is an error: $_") foreach
  q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'x') ON CONFLICT DO NOTHING},
  q{SELECT chatcrypt.put_messages(ARRAY[1], ARRAY[12], ARRAY['x'])};
$node->safe_psql('postgres', 'DROP TRIGGER keep_out ON chatcrypt.sealed_message');
is(as_app($edit), 'elsewhere', 'without policy and trigger the message changes');
is(as_app($found), '0', 'search does not find the old words of a message that was changed');

# ---------- other chats, other participants ----------

ask($node, q{UPDATE chatcrypt.chat SET retention = '3 days' WHERE chat_id = chatcrypt.to_uuid(2)});
like(as_app(q{BEGIN; SELECT FROM chatcrypt.act_as('carol'); SELECT chatcrypt.default_expiry(2)}), qr/not a participant/,
	'an actor does not learn the retention of a chat that it is no participant of');

as_app(q{BEGIN; SELECT FROM chatcrypt.act_as('alice'); SELECT chatcrypt.put_attachment(1, 21, 'a file', message_id => 31); COMMIT});
my $squat = q{INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(31), chatcrypt.to_uuid(1), 'x'); DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(31)};
as_app("BEGIN; SELECT FROM chatcrypt.act_as('carol'); $squat; COMMIT");
is(ask($node, 'SELECT count(*) FROM chatcrypt.sealed_attachment'), '1',
	'a participant cannot delete the file of another with a message that has the id the file names');
as_app("BEGIN; SELECT FROM chatcrypt.act_as('alice'); $squat; COMMIT");
is(ask($node, 'SELECT count(*) FROM chatcrypt.sealed_attachment'), '0',
	'an actor who sent both deletes the file with its message');

foreach my $user ('app', 'chief')
{
	like((($node->psql('postgres', "BEGIN; SELECT FROM chatcrypt.act_as('carol'); $_", extra_params => [ '-U', $user ]))[2]), qr/ERROR:  the current actor is not a participant of this chat/,
		"an actor puts no message without a body into a chat of others, as $user: $_") foreach
	  'INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(2), NULL)', 'SELECT chatcrypt.put_message(2, 41, NULL)',
	  'SELECT chatcrypt.put_messages(ARRAY[2], ARRAY[41], ARRAY[NULL::text])';
}

ask($node, q{UPDATE chatcrypt.chat SET attachment_quota = 1000000 WHERE chat_id = chatcrypt.to_uuid(1);
	SELECT chatcrypt.begin_attachment(1, 22, sender => 'carol')});
my $carol = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
my $other = session($node);
answer($other, 'BEGIN; SELECT FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(1) FOR UPDATE');
answer($carol, q{BEGIN; SELECT FROM chatcrypt.act_as('carol')});
start($carol, q{SELECT chatcrypt.put_attachment_part(22, 0, 'by carol', true)});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock'}), 'a part of a file waits for the quota of its chat');
answer($other, q{SELECT chatcrypt.delete_attachment(22); SELECT chatcrypt.begin_attachment(1, 22, sender => 'alice'); COMMIT});
like(outcome($carol), qr/ERROR:  the attachment is not the current actor's/,
	'a part is not put into the file of another participant that has the same id by then');
$carol->quit;
$other->quit;

# ---------- a plan that is made anew while the statement starts ----------

my $writes = $node->basedir . '/writes.sql';
append_to_file($writes, <<'SQL');
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'x') ON CONFLICT DO NOTHING;
SELECT chatcrypt.put_message(1, (random() * 20)::integer + 1000, 'y');
UPDATE chatcrypt.messages SET body = 'z' WHERE message_id = chatcrypt.to_uuid((random() * 20)::integer + 1000);
SQL
my $analyzes = $node->basedir . '/analyzes.sql';
append_to_file($analyzes, "ANALYZE chatcrypt.sealed_message;\n");
my @pgbench = ('pgbench', '--no-vacuum', '--host', $node->host, '--port', $node->port, '--time', '4');
my $analyzer = IPC::Run::start([ @pgbench, '--file', $analyzes, 'postgres' ], '>', \my $analyzed, '2>', \my $analyzer_errors);
run_log([ @pgbench, '--client', '3', '--username', 'app', '--file', $writes, 'postgres' ], '>', \my $written, '2>', \my $writer_errors);
$analyzer->finish;
like($analyzed, qr/actually processed: [1-9]/, 'ANALYZE runs repeatedly');
like($written, qr/actually processed: [1-9]/, 'messages are written while ANALYZE runs');
is($writer_errors =~ /(ERROR:.*)/ ? $1 : '', '', 'no writer gets an error while ANALYZE runs');

done_testing();
