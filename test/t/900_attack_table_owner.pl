# The owner of a table tries to take over the session that verifies, re-encrypts, purges or deletes:
# by triggers, by functions in the predicate of an index and by other code of a table, of one that
# holds envelopes or of one that refers to messages.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('attack_table_owner', conf => "max_worker_processes = 16\nautovacuum = off\n");

sub as_mallory
{
	my ($sql) = @_;
	$node->safe_psql('postgres', $sql, extra_params => [ '-U', 'mallory' ]);
	return;
}

# Mallory owns a schema, writes messages, and may refer to them.
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE mallory LOGIN IN ROLE chatcrypt_writer;
CREATE SCHEMA shop AUTHORIZATION mallory;
GRANT REFERENCES ON chatcrypt.sealed_message, chatcrypt.sealed_attachment, chatcrypt.chat TO mallory;
SELECT chatcrypt.create_tenant('other');
SELECT chatcrypt.create_chat(1);
UPDATE chatcrypt.chat SET external_envelopes = false;
SQL

# The code that runs in the session of another role: it counts that it ran, changes what settings of
# the session it can, and plants a function that waits for a caller with more rights.
as_mallory(<<'SQL');
CREATE SEQUENCE shop.ran;
CREATE FUNCTION shop.rise() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
		ALTER ROLE mallory SUPERUSER;
	END IF;
END $$;
CREATE FUNCTION shop.now() RETURNS timestamptz LANGUAGE plpgsql AS $$
BEGIN
	PERFORM shop.rise();
	RETURN pg_catalog.now();
END $$;
CREATE FUNCTION shop.attack() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF session_user = 'mallory' THEN RETURN; END IF;
	PERFORM pg_catalog.nextval('shop.ran');
	PERFORM shop.rise();
	PERFORM pg_catalog.set_config('app.tenant', 'mallory', false),
			pg_catalog.set_config('chatcrypt.on_decrypt_error', 'null', false),
			pg_catalog.set_config('search_path', 'shop, pg_catalog', false);
	IF pg_catalog.current_setting('application_name') = 'chatcrypt maintenance' THEN
		PERFORM pg_catalog.set_config('default_transaction_read_only', 'on', false);
	END IF;
END $$;
CREATE FUNCTION shop.fold(anyelement) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	PERFORM shop.attack();
	RETURN true;
END $$;
CREATE FUNCTION shop.fire() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM shop.attack();
	RETURN CASE TG_OP WHEN 'DELETE' THEN old ELSE new END;
END $$;
SQL

sub value
{
	return $node->safe_psql('postgres', $_[0]);
}

sub times_run
{
	return value('SELECT last_value + is_called::integer FROM shop.ran');
}

# A superuser with a setting of an application makes the call, and then calls now().
my $as_before = '"$user", public|hers|null_destroyed';

sub attack
{
	my ($name, $call) = @_;
	my $before = times_run();
	my (undef, $rows, $errors) = $node->psql('postgres', <<"SQL");
SET app.tenant = 'hers';
$call;
DO \$\$ BEGIN PERFORM now(); END \$\$;
SELECT pg_catalog.concat_ws('|', pg_catalog.current_setting('search_path'), pg_catalog.current_setting('app.tenant'),
	pg_catalog.current_setting('chatcrypt.on_decrypt_error'));
SQL
	is($errors, '', "$name: the call raises no error");
	cmp_ok(times_run(), '>', $before, "$name: the table owner's code runs");
	is((split /\n/, $rows)[-1], $as_before, "$name: the session's settings are what they were");
	is(value(q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), 'f', "$name: the table owner does not become a superuser");
	value('ALTER ROLE mallory NOSUPERUSER');
	return;
}

# A table with envelopes, and with this code.
sub with_table
{
	my ($more, $code) = @_;

	as_mallory(<<"SQL");
CREATE TABLE shop.note (id bigint PRIMARY KEY, chat bigint, envelope bytea);
INSERT INTO shop.note SELECT g, 1, chatcrypt.encrypt(1, g, 'note ' || g) FROM generate_series(1, 3) AS g;
$more;
SQL
	value(q{SELECT chatcrypt.register_envelopes('shop.note', 'envelope', 'chat', 'id')});
	$code->();
	value(q{SELECT chatcrypt.unregister_envelopes(registry_id) FROM chatcrypt.envelope_column});
	as_mallory('DROP TABLE shop.note');
	return;
}

sub rotate
{
	value('SELECT chatcrypt.rotate_chat(1)');
	return;
}

# The planner folds a call with constants in the predicate of an index, even for a mere SELECT.
with_table(
	q{CREATE INDEX ON shop.note (chat) WHERE shop.fold('predicate'::text)},
	sub {
		attack('verify_chat(), predicate of an index', 'SELECT * FROM chatcrypt.verify_chat(1)');
		attack('verify_all(), predicate of an index', 'CALL chatcrypt.verify_all()');
		attack('verify_all() at a rate, predicate of an index', 'CALL chatcrypt.verify_all(max_rate => 100)');
		rotate();
		attack('purge_chat_keys(), predicate of an index', 'CALL chatcrypt.purge_chat_keys(1)');
		attack('purge_unused_keys(), predicate of an index', 'CALL chatcrypt.purge_unused_keys()');
		attack('reencrypt_chat(), predicate of an index', 'CALL chatcrypt.reencrypt_chat(1)');
		rotate();
		attack('reencrypt_due(), predicate of an index', q{CALL chatcrypt.reencrypt_due('0')});
		attack('verify_chat() in a transaction block, predicate of an index', <<'SQL');
BEGIN;
SELECT * FROM chatcrypt.verify_chat(1);
COMMIT
SQL
	});

# All code of a table that an UPDATE runs.
my %code = (
	'a row trigger' => 'CREATE TRIGGER fire BEFORE UPDATE ON shop.note FOR EACH ROW EXECUTE FUNCTION shop.fire()',
	'a trigger after the row' => 'CREATE TRIGGER fire AFTER UPDATE ON shop.note FOR EACH ROW EXECUTE FUNCTION shop.fire()',
	'a statement trigger' => 'CREATE TRIGGER fire AFTER UPDATE ON shop.note FOR EACH STATEMENT EXECUTE FUNCTION shop.fire()',
	'a check constraint' => 'ALTER TABLE shop.note ADD CHECK (shop.fold(envelope))',
	'a generated column' => 'ALTER TABLE shop.note ADD made boolean GENERATED ALWAYS AS (shop.fold(envelope)) STORED',
	'an index of an expression' => 'CREATE INDEX ON shop.note (shop.fold(envelope))',
	'a predicate on a row' => 'CREATE INDEX ON shop.note (id) WHERE shop.fold(envelope)',
	'a rule' => 'CREATE RULE fire AS ON UPDATE TO shop.note DO ALSO SELECT shop.attack()',
	'a deferred constraint trigger' => 'CREATE CONSTRAINT TRIGGER fire AFTER UPDATE ON shop.note '
	  . 'DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.fire()');

foreach my $what (sort keys %code)
{
	with_table(
		$code{$what},
		sub {
			rotate();
			attack("reencrypt_chat(), $what", 'CALL chatcrypt.reencrypt_chat(1)');
			rotate();
			attack("reencrypt_due(), $what", q{CALL chatcrypt.reencrypt_due('0')});
			is(value('SELECT count(*) FROM chatcrypt.verify_chat(1)'), '0',
				"$what: every envelope opens");
		});
}

# A policy that would hide rows from the owner is refused, and its code is not run.
with_table(
	'',
	sub {
		as_mallory('ALTER TABLE shop.note ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; '
			  . 'CREATE POLICY evil ON shop.note USING (shop.fold(envelope))');
		my $before = times_run();
		like(ask($node, $_), qr/ERROR:  query would be affected by row-level security policy/,
			"a policy on the table is refused: $_")
		  foreach 'SELECT * FROM chatcrypt.verify_chat(1)', 'CALL chatcrypt.verify_all()', 'CALL chatcrypt.purge_chat_keys(1)',
		  'CALL chatcrypt.reencrypt_chat(1)', q{SELECT chatcrypt.register_envelopes('shop.note', 'envelope', 'chat', 'id')};
		is(times_run(), $before, 'the code of a policy on the table is not run');
	});

# A column of a user-defined type has user-defined input, output and casts.
as_mallory(<<'SQL');
CREATE DOMAIN shop.sealed AS bytea CHECK (shop.fold(value));
CREATE DOMAIN shop.number AS bigint CHECK (shop.fold(value));
CREATE TABLE shop.typed (id bigint, chat bigint, envelope bytea, own shop.sealed, number shop.number);
SQL
like(ask($node, q{SELECT chatcrypt.register_envelopes('shop.typed', 'own', 'chat', 'id')}),
	qr/column "own" is not a bytea/, 'an envelope column of a domain is refused');
like(ask($node, qq{SELECT chatcrypt.register_envelopes('shop.typed', 'envelope', $_)}),
	qr/column "number" is neither a uuid nor an integer/, "an id column of a domain is refused: $_")
  foreach q{'number', 'id'}, q{'chat', 'number'};

# Rows that are deleted with a message are deleted in the name of the owner of their table, by a
# foreign key that cascades.
sub with_reference
{
	my ($more, $code) = @_;

	as_mallory(<<"SQL");
CREATE TABLE shop.reaction (message_id uuid REFERENCES chatcrypt.sealed_message ON DELETE CASCADE);
CREATE TABLE shop.album (file_id uuid REFERENCES chatcrypt.sealed_attachment ON DELETE CASCADE);
CREATE TABLE shop.room (chat_id uuid REFERENCES chatcrypt.chat ON DELETE CASCADE);
CREATE TABLE shop.log (at timestamptz);
$more;
SQL
	$code->();
	as_mallory('DROP TABLE shop.reaction, shop.album, shop.room, shop.log');
	return;
}

my $next_chat = 100;

# A chat with a message that has expired, a file, and something of mallory's for each.
sub new_chat
{
	my $chat = ++$next_chat;
	$node->safe_psql('postgres', <<"SQL");
SELECT chatcrypt.create_chat($chat, tenant => 'other');
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body, expires_at)
	VALUES (chatcrypt.to_uuid($chat), chatcrypt.to_uuid($chat), 'bob', 'x', now() - interval '1 hour');
SELECT chatcrypt.put_attachment($chat, $chat, 'content', message_id => chatcrypt.to_uuid($chat), sender => 'bob');
SQL
	as_mallory(<<"SQL");
INSERT INTO shop.reaction VALUES (chatcrypt.to_uuid($chat));
INSERT INTO shop.album VALUES (chatcrypt.to_uuid($chat));
INSERT INTO shop.room VALUES (chatcrypt.to_uuid($chat));
SQL
	return $chat;
}

sub triggers
{
	my ($function) = @_;
	return join '; ', map { "CREATE TRIGGER fire BEFORE DELETE ON shop.$_ FOR EACH ROW EXECUTE FUNCTION shop.$function()" } qw(reaction album room);
}

my %references = (
	'a trigger' => triggers('fire'),
	'a predicate of an index' => join('; ', map { "CREATE INDEX ON shop.$_ ((1)) WHERE shop.fold('predicate'::text)" } qw(reaction album room)));

foreach my $what (sort keys %references)
{
	with_reference(
		$references{$what},
		sub {
			new_chat();
			attack("apply_retention(), $what", 'CALL chatcrypt.apply_retention()');
			new_chat();
			attack("delete_messages_of(), $what", q{CALL chatcrypt.delete_messages_of('bob')});
			my $chat = new_chat();
			attack("delete_chat(), $what", qq{CALL chatcrypt.delete_chat($chat, confirm => 'irreversible')});
			$chat = new_chat();
			attack("shred_chat(), $what", qq{SELECT chatcrypt.shred_chat($chat, 'irreversible')});
			$chat = new_chat();
			attack("delete_attachment(), $what", "SELECT chatcrypt.delete_attachment($chat)");
			new_chat();
			attack("shred_tenant(), $what", q{SELECT chatcrypt.shred_tenant('other', 'irreversible')});
			value(q{DELETE FROM chatcrypt.sealed_message});
		});
}

# Operators of mallory's, first in the path of the next statement that the extension runs as its
# owner.
as_mallory(<<'SQL');
CREATE FUNCTION shop.same(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM shop.rise();
	RETURN uuid_eq($1, $2);
END $$;
CREATE FUNCTION shop.same(text, text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM shop.rise();
	RETURN texteq($1, $2);
END $$;
CREATE OPERATOR shop.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = shop.same, COMMUTATOR = OPERATOR(shop.=));
CREATE OPERATOR shop.= (LEFTARG = text, RIGHTARG = text, FUNCTION = shop.same, COMMUTATOR = OPERATOR(shop.=));
SQL
with_reference(
	triggers('fire'),
	sub {
		new_chat();
		attack('shred_tenant(), operators for the statement after', q{SELECT chatcrypt.shred_tenant('other', 'irreversible')});
		my $chat = new_chat();
		attack('delete_chat(), operators for the statement after', qq{CALL chatcrypt.delete_chat($chat, confirm => 'irreversible')});
	});

# Code that is deferred to the end of the transaction, when the rights of the caller are back.
as_mallory(<<'SQL');
CREATE FUNCTION shop.leave_for_later() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM nextval('shop.ran');
	SET CONSTRAINTS ALL DEFERRED;
	INSERT INTO shop.log VALUES (pg_catalog.now());
	RETURN CASE TG_OP WHEN 'DELETE' THEN old ELSE new END;
END $$;
SQL
my $later = 'CREATE CONSTRAINT TRIGGER later AFTER INSERT ON shop.log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.fire()';

sub refused_later
{
	my ($name, $call) = @_;
	my $before = times_run();
	like(ask($node, $call), qr/ERROR:  cannot fire deferred trigger within security-restricted operation/,
		"$name: a trigger for the end of the transaction is refused");
	cmp_ok(times_run(), '>', $before, "$name: the deferred trigger was attempted");
	is(value(q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), 'f', "$name: the table owner does not become a superuser");
	value('ALTER ROLE mallory NOSUPERUSER');
	return;
}

with_reference(
	triggers('leave_for_later') . "; $later",
	sub {
		my $chat = new_chat();
		refused_later('apply_retention()', 'CALL chatcrypt.apply_retention()');
		refused_later('delete_messages_of()', q{CALL chatcrypt.delete_messages_of('bob')});
		refused_later('shred_chat()', qq{SELECT chatcrypt.shred_chat($chat, 'irreversible')});
		refused_later('shred_tenant()', q{SELECT chatcrypt.shred_tenant('other', 'irreversible')});
		refused_later('delete_attachment()', "SELECT chatcrypt.delete_attachment($chat)");
		refused_later('delete_chat()', qq{CALL chatcrypt.delete_chat($chat, confirm => 'irreversible')});
		as_mallory('DROP TRIGGER later ON shop.log');
		value(q{DELETE FROM chatcrypt.sealed_message});
		with_table(
			'CREATE TRIGGER later AFTER UPDATE ON shop.note FOR EACH ROW EXECUTE FUNCTION shop.leave_for_later(); ' . $later,
			sub {
				rotate();
				refused_later('reencrypt_chat()', 'CALL chatcrypt.reencrypt_chat(1)');
			});
	});

# What else could stay behind in the session.
as_mallory(<<'SQL');
CREATE FUNCTION shop.litter() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	statement text;
BEGIN
	PERFORM nextval('shop.ran');
	FOREACH statement IN ARRAY ARRAY[
		'SET ROLE NONE', 'SET ROLE postgres', 'RESET ROLE', 'SET SESSION AUTHORIZATION DEFAULT',
		'SET LOCAL session_authorization = mallory', 'CREATE TEMP TABLE users (name text)', 'CREATE TEMP VIEW pg_class AS SELECT shop.now()',
		'CREATE TABLE pg_temp.orders ()', 'LISTEN evil', 'UNLISTEN *', 'PREPARE evil AS SELECT shop.now()', 'DEALLOCATE ALL', 'DISCARD ALL', 'DISCARD TEMP',
		'DECLARE evil CURSOR WITH HOLD FOR SELECT shop.now()', 'CLOSE ALL', 'SELECT chatcrypt.act_as(''alice'')',
		'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY', 'SET chatcrypt.require_tls = off', 'RESET ALL', 'SET app.tenant = mallory', 'LOAD ''plpgsql''']
	LOOP
		BEGIN
			EXECUTE statement;
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
	RETURN CASE TG_OP WHEN 'DELETE' THEN old ELSE new END;
END $$;
SQL

sub nothing_stays
{
	my ($name, $call) = @_;
	my $before = times_run();
	my $session = session($node);
	answer($session, q{LISTEN hers; PREPARE hers AS SELECT 1; CREATE TEMP TABLE hers (); SET app.tenant = 'hers'; SET work_mem = '5MB'});
	unlike(answer($session, $call), qr/ERROR/, "$name: the call raises no error");
	cmp_ok(times_run(), '>', $before, "$name: the table owner's code runs");
	is(answer($session, "SELECT concat_ws('|', session_user, current_user, current_setting('app.tenant'), current_setting('work_mem'), "
				. "current_setting('default_transaction_read_only'), chatcrypt.current_actor())"),
		value('SELECT current_user') . '|' . value('SELECT current_user') . '|hers|5MB|off', "$name: users, actor and settings are what they were");
	is(answer($session, 'SELECT * FROM pg_listening_channels()'), 'hers', "$name: no channel was joined or left");
	is(answer($session, 'SELECT name FROM pg_prepared_statements'), 'hers', "$name: no statement was prepared or dropped");
	is(answer($session, 'SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()'), 'hers', "$name: no temporary object was made or dropped");
	is(answer($session, 'SELECT name FROM pg_cursors WHERE is_holdable'), '', "$name: no cursor is left");
	$session->quit;
	return;
}

with_reference(
	triggers('litter'),
	sub {
		my $chat = new_chat();
		nothing_stays('apply_retention()', 'CALL chatcrypt.apply_retention()');
		$chat = new_chat();
		nothing_stays('shred_chat()', qq{SELECT chatcrypt.shred_chat($chat, 'irreversible')});
		nothing_stays('delete_chat()', qq{CALL chatcrypt.delete_chat($chat, confirm => 'irreversible')});
	});
with_table(
	'CREATE TRIGGER litter BEFORE UPDATE ON shop.note FOR EACH ROW EXECUTE FUNCTION shop.litter()',
	sub {
		rotate();
		nothing_stays('reencrypt_chat()', 'CALL chatcrypt.reencrypt_chat(1)');
	});

# Foreign keys that are checked at the end of a transaction are usual in some frameworks: they do
# not hold up these calls.
as_mallory(<<'SQL');
CREATE TABLE shop.mention (message_id uuid REFERENCES chatcrypt.sealed_message DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE shop.cover (file_id uuid REFERENCES chatcrypt.sealed_attachment DEFERRABLE INITIALLY DEFERRED);
SQL
with_reference(
	'',
	sub {
		my $chat = new_chat();
		like(ask($node, "SELECT chatcrypt.delete_attachment($chat)"), qr/^t$/,
			'deferred references: delete_attachment() succeeds');
		like(ask($node, 'CALL chatcrypt.apply_retention()'), qr/^1$/,
			'deferred references: apply_retention() succeeds');
		$chat = new_chat();
		like(ask($node, "DELETE FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid($chat)"), qr/^$/,
			'deferred references: DELETE of a message succeeds');
		$chat = new_chat();
		as_mallory("INSERT INTO shop.mention VALUES (chatcrypt.to_uuid($chat)); INSERT INTO shop.cover VALUES (chatcrypt.to_uuid($chat))");
		like(ask($node, $_), qr/violates foreign key constraint/, "deferred references that would dangle: $_")
		  foreach 'CALL chatcrypt.apply_retention()', "SELECT chatcrypt.delete_attachment($chat)";
		as_mallory('TRUNCATE shop.mention, shop.cover');
		like(ask($node, qq{SELECT chatcrypt.shred_chat($chat, 'irreversible')}), qr/^1$/,
			'deferred references: shred_chat() succeeds');
		like(ask($node, qq{CALL chatcrypt.delete_chat($chat, confirm => 'irreversible')}), qr/^1$/,
			'deferred references: delete_chat() succeeds');
	});

# A round of maintenance: the foreign code of one task does not affect the others.
with_reference(
	triggers('fire'),
	sub {
		with_table(
			q{CREATE TRIGGER fire BEFORE UPDATE ON shop.note FOR EACH ROW EXECUTE FUNCTION shop.fire(); }
			  . q{CREATE INDEX ON shop.note (chat) WHERE shop.fold('predicate'::text)},
			sub {
				my $chat = new_chat();
				value(q{UPDATE chatcrypt.tenant SET reencrypt_after = '0'});
				rotate();
				my $before = times_run();
				$node->safe_psql('postgres', q{ALTER SYSTEM SET chatcrypt.maintenance_databases = 'postgres'});
				$node->reload;
				ok(wait_until(60, sub { value($_->[1]) eq 't' }), "maintenance: $_->[0]")
				  foreach [ 'retention did its work', 'SELECT count(*) = 0 FROM chatcrypt.sealed_message WHERE expires_at < now()' ],
				  [ 'replaced keys were purged', q{SELECT count(*) = 0 FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(1) AND state = 'decrypt_only'} ],
				  [ 'the history was sealed', q{SELECT count(*) > 0 FROM chatcrypt.event_seal} ];
				cmp_ok(times_run(), '>', $before, "maintenance: the table owner's code ran");
				is(value(q{SELECT string_agg(task || ': ' || last_error, ', ') FROM chatcrypt.maintenance_status}), '', 'maintenance: no task failed');
				is(value(q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), 'f', 'maintenance: the table owner does not become a superuser');
				$node->safe_psql('postgres', 'ALTER SYSTEM RESET chatcrypt.maintenance_databases');
				$node->reload;
			});
	});

# The owner of a schema exchanges a table of another role in it while that table is read step by
# step.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE shop.archive (id bigint, chat bigint, envelope bytea, filler text);
ALTER TABLE shop.archive ALTER filler SET STORAGE PLAIN;
INSERT INTO shop.archive SELECT g, 1, chatcrypt.encrypt(1, g, 'x'), repeat('x', 7000) FROM generate_series(1, 600) AS g;
SELECT chatcrypt.register_envelopes('shop.archive', 'envelope', 'chat', 'id');
SQL
my $verifier = session($node);
start($verifier, 'CALL chatcrypt.verify_all(max_rate => 1)');
ok(wait_until(60, sub { value(q{SELECT count(*) FROM chatcrypt.progress WHERE task = 'verify' AND done BETWEEN 128 AND 500}) }),
	'an exchanged table: the table is being read');
$node->safe_psql('postgres', 'GRANT CREATE ON DATABASE postgres TO mallory');
as_mallory(<<'SQL');
ALTER SCHEMA shop RENAME TO moved;
CREATE SCHEMA shop;
CREATE FUNCTION shop.exchanged(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	PERFORM moved.rise();
	RETURN true;
END $$;
CREATE TABLE shop.archive (id bigint, chat bigint, envelope bytea);
CREATE INDEX ON shop.archive (chat) WHERE shop.exchanged('predicate');
SQL
# The function was made for another name of its schema.
as_mallory(<<'SQL');
CREATE OR REPLACE FUNCTION moved.rise() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
		ALTER ROLE mallory SUPERUSER;
	END IF;
END $$;
SQL
is(outcome($verifier), '0', 'an exchanged table: the reading goes on in the table that was registered');
is(value(q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mallory'}), 'f', 'an exchanged table: the owner of its schema does not become a superuser');

done_testing();
