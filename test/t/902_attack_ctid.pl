# A ctid names a row of one table.  Where it meets another row, of a shard or of a table that
# inherits, that row stays unchanged: re-encryption does not write over it, and no deletion deletes
# it.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use Cwd qw(getcwd);
use Test::More;

my $node = Chatcrypt::Test->start('attack_ctid', conf => "autovacuum = off\nmax_parallel_workers_per_gather = 0\n");
my $shards = ($ENV{TESTDIR} // getcwd()) . '/build/test/shards';

sub value
{
	return $node->safe_psql('postgres', $_[0]);
}

sub does_not_open
{
	return value(q{SELECT count(*) FROM (SELECT * FROM one UNION ALL SELECT * FROM other) AS s (id, chat, envelope) WHERE chatcrypt.try_decrypt(chat, id, envelope) IS DISTINCT FROM 'message ' || id});
}

# A table that holds no row, and two that hold them; the same ctids are rows of chat 1 in one, and
# of chat 2 in the other.
$node->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chats('{1,2}'::bigint[]);
CREATE TABLE shell (id bigint, chat bigint, envelope bytea);
SELECT chatcrypt.register_envelopes('shell', 'envelope', 'chat', 'id');
CREATE TABLE one () INHERITS (shell);
CREATE TABLE other () INHERITS (shell);
INSERT INTO one SELECT g, 1, chatcrypt.encrypt(1, g, 'message ' || g) FROM generate_series(1, 100) AS g;
INSERT INTO other SELECT g, 2, chatcrypt.encrypt(2, g, 'message ' || g) FROM generate_series(101, 200) AS g;
SQL
is(does_not_open(), 0, 'every message opens before re-encryption');
my $other = value('SELECT md5(string_agg(envelope::text, $$,$$ ORDER BY id)) FROM other');

sub with_shards
{
	my ($blind, $sql) = @_;
	my (undef, $rows, $errors) = $node->psql('postgres', "LOAD '$shards'; SET shards.blind = $blind; $sql");
	return "$rows$errors";
}

# The module does what it is for.
like(with_shards('off', 'SELECT count(*) FROM ONLY shell'), qr/^200$/, 'the planner sends a statement to the tables that hold the rows');
like(with_shards('on', 'SELECT count(*) FROM ONLY shell'), qr/^0$/,
	'a planner that hides the tables finds no row in the parent');

# A planner that is not found out by the look at the plan: the statement itself touches no other
# row.
value('SELECT chatcrypt.rotate_chat(1)');
with_shards('on', q{SET client_min_messages = error; CALL chatcrypt.reencrypt_chat(1)});
is(does_not_open(), 0, 're-encryption by a planner that hides: all messages open');
is(value('SELECT md5(string_agg(envelope::text, $$,$$ ORDER BY id)) FROM other'), $other,
	're-encryption by a planner that hides: the rows of the other chat are as they were');

# A planner that is found out: everything that reads the rows is refused.
value('SELECT chatcrypt.rotate_chat(1); UPDATE chatcrypt.chat SET external_envelopes = false');
my $refused = qr/(?:ERROR|WARNING):  rows of public\.shell are not kept in that table/;
like(with_shards('off', $_), $refused, "a planner that goes elsewhere: $_")
  foreach 'CALL chatcrypt.reencrypt_chat(1)', q{CALL chatcrypt.reencrypt_due('0')}, 'SELECT * FROM chatcrypt.verify_chat(1)',
  'CALL chatcrypt.verify_all()', 'CALL chatcrypt.verify_all(max_rate => 1)', 'CALL chatcrypt.purge_chat_keys(1)', 'CALL chatcrypt.purge_unused_keys()';
is(does_not_open(), 0, 'a planner that goes elsewhere: all messages open');
value('SELECT chatcrypt.unregister_envelopes(registry_id) FROM chatcrypt.envelope_column');
like(with_shards('off', q{SELECT chatcrypt.register_envelopes('shell', 'envelope', 'chat', 'id')}), $refused,
	'a planner that goes elsewhere: the table is not registered');
is(value('SELECT count(*) FROM chatcrypt.envelope_column'), 0,
	'a planner that goes elsewhere: no registration is left');

# Without the module, the same tables are parent and children, each with its own rows.
is(ask($node, q{SELECT chatcrypt.register_envelopes('shell', 'envelope', 'chat', 'id') IS NOT NULL}), 't',
	'without the module: tables that inherit are registered with their parent');
is(ask($node, 'CALL chatcrypt.reencrypt_chat(1)'), '100|0',
	'without the module: rows of tables that inherit are re-encrypted');
is(does_not_open(), 0, 'without the module: every message opens after re-encryption');
value('INSERT INTO shell SELECT g, 2, chatcrypt.encrypt(2, g, $$message $$ || g) FROM generate_series(201, 300) AS g');

# Statements that change another number of rows than they should.
my %other_number = (
	'a trigger that suppresses a row' => [
		'CREATE FUNCTION suppress() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN old.id <> 250 THEN new END; END $$; '
		  . 'CREATE TRIGGER suppress BEFORE UPDATE ON shell FOR EACH ROW EXECUTE FUNCTION suppress()',
		qr/ERROR:  re-encryption changed 9 rows of public\.shell and not 10/, 'DROP FUNCTION suppress CASCADE'
	],
	'a rule that does something else' =>
	  [ 'CREATE RULE instead AS ON UPDATE TO shell DO INSTEAD NOTHING', $refused, 'DROP RULE instead ON shell' ]);
foreach my $what (sort keys %other_number)
{
	my ($make, $expected, $drop) = @{ $other_number{$what} };
	value($make);
	value('SELECT chatcrypt.rotate_chat(2)');
	my $before = value('SELECT md5(string_agg(envelope::text, $$,$$ ORDER BY id)) FROM ONLY shell WHERE id > 240');
	like(ask($node, 'CALL chatcrypt.reencrypt_chat(2, batch => 10)'), $expected, "$what: re-encryption ends with an error");
	is(value('SELECT md5(string_agg(envelope::text, $$,$$ ORDER BY id)) FROM ONLY shell WHERE id > 240'), $before,
		"$what: the batch of re-encryption is undone");
	value($drop);
}
like(ask($node, 'CALL chatcrypt.reencrypt_chat(2)'), qr/^\d+\|0$/,
	're-encryption completes without the trigger and the rule');

# A row with two envelopes keeps them apart, and a message id that occurs twice is two rows.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO shell SELECT id, chat, envelope FROM shell WHERE id = 290;
SELECT chatcrypt.rotate_chat(2);
SQL
like(ask($node, 'CALL chatcrypt.reencrypt_chat(2)'), qr/^201\|0$/,
	're-encryption takes a row that was copied as two rows');

# A row of another shard with the same ctid that differs in one of the columns that identify a row.
foreach my $case ([ 'another chat', '1, 2, envelope' ], [ 'another message id', '2, 1, envelope' ])
{
	my ($what, $columns) = @$case;
	value("TRUNCATE shell; INSERT INTO one SELECT 1, 1, chatcrypt.encrypt(1, 1, 'message 1'); INSERT INTO other SELECT $columns FROM one; SELECT chatcrypt.rotate_chat(1)");
	my $envelope = value('SELECT envelope FROM other');
	like(with_shards('on', 'SET client_min_messages = error; CALL chatcrypt.reencrypt_chat(1)'), qr/^1\|\d$/, "the same ctid and $what: re-encryption finds its own row alone");
	is(value('SELECT envelope FROM other'), $envelope, "the same ctid and $what: the other row is unchanged");
}
value(q{TRUNCATE shell; INSERT INTO one SELECT 1, 1, chatcrypt.encrypt(1, 1, 'first'); INSERT INTO other SELECT 1, 1, chatcrypt.encrypt(1, 1, 'second'); SELECT chatcrypt.rotate_chat(1)});
is(with_shards('on', 'SET client_min_messages = error; CALL chatcrypt.reencrypt_chat(1)'), '2|0', 'the same ctid, chat and message id: both rows are re-encrypted');
is(value(q{SELECT chatcrypt.decrypt(1, 1, one.envelope), chatcrypt.decrypt(1, 1, other.envelope) FROM one, other}), 'first|second',
	'the same ctid, chat and message id: each row keeps its own message');
value('TRUNCATE shell');

# The tables of chatcrypt: the view would show the rows of a table that inherits from them, while
# re-encryption and purging would pass them over; and such a table has ctids of its own.
foreach my $table (qw(sealed_message sealed_attachment))
{
	value("CREATE TABLE heir () INHERITS (chatcrypt.$table)");
	like(ask($node, $_), qr/ERROR:  tables inherit from chatcrypt\.$table/, "a table that inherits from chatcrypt.$table: $_")
	  foreach 'CALL chatcrypt.reencrypt_chat(2)', 'CALL chatcrypt.purge_chat_keys(2)', 'SELECT * FROM chatcrypt.verify_chat(2)';
	value('DROP TABLE heir');
}
unlike(ask($node, 'SELECT * FROM chatcrypt.verify_chat(2)'), qr/ERROR/,
	'verify_chat() works when the table that inherits is gone');

# Deletions by ctid: rows of another table with the same ctids must stay.
sub messages
{
	return value(q{SELECT string_agg(sender, ',' ORDER BY sender COLLATE "C") FROM chatcrypt.sealed_message});
}

sub files
{
	return value(q{SELECT string_agg(sender, ',' ORDER BY sender COLLATE "C") FROM chatcrypt.sealed_attachment});
}
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE more_messages () INHERITS (chatcrypt.sealed_message);
CREATE TABLE more_files () INHERITS (chatcrypt.sealed_attachment);
SELECT chatcrypt.create_chats('{3,4}'::bigint[]);
CREATE FUNCTION fill() RETURNS void LANGUAGE sql AS $$
	DELETE FROM chatcrypt.sealed_attachment;
	DELETE FROM chatcrypt.sealed_message;
	TRUNCATE chatcrypt.sealed_message, chatcrypt.sealed_attachment CASCADE;
	INSERT INTO chatcrypt.sealed_message (message_id, chat_id, sender, expires_at)
		VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(3), 'alice', now() - interval '1 hour');
	INSERT INTO more_messages (message_id, chat_id, sender) VALUES (chatcrypt.to_uuid(2), chatcrypt.to_uuid(4), 'bob');
	INSERT INTO chatcrypt.sealed_attachment (file_id, chat_id, sender, expires_at, encrypted_metadata, dek_version, completed_at)
		SELECT chatcrypt.to_uuid(1), chatcrypt.to_uuid(3), 'alice', now() - interval '1 hour', e, chatcrypt.dek_version(e), now() FROM chatcrypt.encrypt(3, 1, 'x') AS e;
	INSERT INTO more_files (file_id, chat_id, sender, encrypted_metadata, dek_version, completed_at)
		SELECT chatcrypt.to_uuid(2), chatcrypt.to_uuid(4), 'bob', e, chatcrypt.dek_version(e), now() FROM chatcrypt.encrypt(4, 2, 'x') AS e;
$$;
SQL
foreach my $call (
	'CALL chatcrypt.apply_retention()', q{CALL chatcrypt.delete_messages_of('alice')},
	q{CALL chatcrypt.delete_messages_of('alice', chatcrypt.to_uuid(3))}, q{CALL chatcrypt.delete_chat(3, confirm => 'irreversible')})
{
	value('SELECT fill()');
	is(messages() . '|' . files(), 'alice,bob|alice,bob',
		"$call: every message and file is there before");
	unlike(ask($node, $call), qr/ERROR/, "$call: the call raises no error");
	is(messages(), 'bob', "$call: the message with the same ctid stays");
	is(files(), 'bob', "$call: the file with the same ctid stays");
}

done_testing();
