# A server without chatcrypt in shared_preload_libraries: dropping runs no function of the
# extension, so the guard of src/pg/access/dropguard.c is not loaded, and the event trigger
# chatcrypt_guard refuses.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('unloaded');
$node->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chat(1);
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'kept');
CREATE ROLE dba SUPERUSER;
CREATE ROLE mallory;
SQL

sub restart_with
{
	my ($libraries) = @_;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$libraries'\n");
	$node->restart;
	return;
}

# The result of a statement whose effect is rolled back.
sub tried
{
	my ($sql, $before) = @_;
	return ask($node, join('; ', 'BEGIN', $before // (), $sql, q{SELECT count(*) = 0 FROM pg_extension WHERE extname = 'chatcrypt'}, 'ROLLBACK'));
}

# Every way to drop the extension, with the statements that must come before.
my @drops = (
	[ 'DROP EXTENSION chatcrypt' ],
	[ 'DROP EXTENSION IF EXISTS chatcrypt CASCADE' ],
	[ 'DROP EXTENSION plpgsql, chatcrypt' ],
	[ 'DROP EXTENSION plpgsql CASCADE' ],
	[ 'DROP SCHEMA chatcrypt CASCADE' ],
	[ 'DROP SCHEMA elsewhere, chatcrypt CASCADE', 'CREATE SCHEMA elsewhere' ],
	[ 'DROP SCHEMA renamed CASCADE', 'ALTER SCHEMA chatcrypt RENAME TO renamed' ],
	[ 'DROP OWNED BY dba CASCADE', 'ALTER SCHEMA chatcrypt OWNER TO dba' ],
	[ q{DO 'BEGIN DROP EXTENSION chatcrypt; END'} ],
	[ 'DROP EXTENSION chatcrypt', 'SET LOCAL session_replication_role = replica' ]);
my $refused = qr/^ERROR:  DROP (EXTENSION|SCHEMA|OWNED) is refused in a database of chatcrypt while its library is not loaded$/;

# With the library, the guard in it decides: it knows whether there are keys, and which statements
# would destroy them.
like(tried(@$_), qr/^ERROR:  cannot drop chatcrypt while it holds data keys$/,
	"with the library, refused: $_->[0]") foreach @drops;
is(tried('DROP SCHEMA elsewhere CASCADE', 'CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.t ()'), 'f',
	'with the library: an unrelated schema is dropped with CASCADE');
is(tried('DROP EXTENSION chatcrypt', 'SET LOCAL chatcrypt.allow_drop = on'), 't', 'with the library: allow_drop allows it');
is(tried('DROP EXTENSION chatcrypt', 'DELETE FROM chatcrypt.dek'), 't',
	'with the library: DROP EXTENSION works when there are no keys');

restart_with('');
like(ask($node, 'SELECT body FROM chatcrypt.messages'), qr/FATAL:  chatcrypt must be loaded through shared_preload_libraries/,
	'the library is not loaded');
like(tried(@$_), $refused, "without the library, refused: $_->[0]") foreach @drops;

# An error ends the statement, and never the session.
my $session = session($node);
like(answer($session, 'DROP EXTENSION chatcrypt'), $refused,
	'without the library: DROP EXTENSION is refused');
is(answer($session, 'SELECT 1'), '1', 'without the library: the session goes on after a refusal');
my (undef, undef, $said) = $node->psql('postgres', 'DROP EXTENSION chatcrypt');
like($said, qr/DETAIL:  .*chatcrypt\.dek.*\nHINT:  .*shared_preload_libraries.*chatcrypt\.allow_drop = on/,
	'without the library: the refusal says what to do');

# Objects that cannot take chatcrypt with them are dropped as usual.
$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA app;
CREATE TYPE app.mood AS ENUM ('good');
CREATE TABLE app.t (mood app.mood);
CREATE VIEW app.v AS SELECT * FROM app.t;
CREATE FUNCTION app.f() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE ROLE passing;
SQL
is(answer($session, $_), '', "without the library: $_ works")
  foreach 'DROP TABLE app.t CASCADE', 'DROP TYPE app.mood CASCADE', 'DROP FUNCTION app.f()', 'DROP SCHEMA app', 'DROP ROLE passing';
like(answer($session, 'DROP EXTENSION plpgsql'), qr/cannot drop extension plpgsql because other objects depend on it/,
	'without the library: another extension is dropped where nothing depends on it, as PostgreSQL decides');
like(answer($session, 'DROP SCHEMA public CASCADE'), $refused,
	'without the library: CASCADE of any schema is refused, since the statement does not say what depends on it');
like(answer($session, 'DROP TABLE chatcrypt.dek CASCADE'), qr/because extension chatcrypt requires it/,
	'without the library: PostgreSQL itself refuses to drop members of the extension');

# A placeholder of that name can be set by any role: it counts for a superuser alone.
is(tried('DROP EXTENSION chatcrypt', 'SET LOCAL chatcrypt.allow_drop = on'), 't', 'without the library: allow_drop allows it');
like(tried('DROP EXTENSION chatcrypt', "SET LOCAL chatcrypt.allow_drop = 'whatever'"), $refused,
	'without the library: a value of allow_drop that is no boolean allows nothing');
like(tried('DROP SCHEMA chatcrypt CASCADE', 'ALTER SCHEMA chatcrypt OWNER TO mallory; SET ROLE mallory; SET chatcrypt.allow_drop = on'),
	$refused,
		'without the library: allow_drop allows nothing where a role that is no superuser set it');

# The documented way out, which also works where the file of the library is gone.
foreach my $drop (@drops)
{
	my ($sql, $before) = @$drop;
	is(tried($sql, join('; ', $before // (), 'ALTER EVENT TRIGGER chatcrypt_guard DISABLE')), 't', "with the event trigger disabled: $sql drops chatcrypt");
}

# From 17 on, event triggers can be switched off as a whole.
my $has_setting = $node->pg_version >= 17;
my $gone = q{UPDATE pg_proc SET probin = '$libdir/gone' WHERE oid = 'chatcrypt_internal.guard_drop()'::regprocedure};
like(tried('DROP EXTENSION chatcrypt', $gone), qr/^ERROR:  could not access file/, 'nothing is dropped without the file of the library');
is(tried('DROP EXTENSION chatcrypt', "$gone; ALTER EVENT TRIGGER chatcrypt_guard DISABLE"), 't',
	'with the event trigger disabled, DROP EXTENSION works without the file of the library');
if ($has_setting)
{
	is(tried('DROP EXTENSION chatcrypt', 'SET LOCAL event_triggers = off'), 't',
		'DROP EXTENSION is not refused with event_triggers = off');
}

# With the library again, all data is there.
$session->quit;
restart_with('chatcrypt');
is(ask($node, 'SELECT body FROM chatcrypt.messages'), 'kept',
	'a message reads when the library is loaded again');
if ($has_setting)
{
	is(ask($node, q{SET event_triggers = off; SELECT severity, what FROM chatcrypt.doctor() WHERE finding = 'drop_guard'}),
		'warning|event_triggers is off in your session.', 'doctor() tells of event_triggers = off');
}
is(ask($node, q{SELECT evtenabled, (SELECT extname FROM pg_extension WHERE oid = d.refobjid)
	FROM pg_event_trigger AS t JOIN pg_depend AS d ON d.classid = 'pg_event_trigger'::regclass AND d.objid = t.oid AND d.deptype = 'e'
	WHERE evtname = 'chatcrypt_guard'}), 'A|chatcrypt', 'the event trigger belongs to the extension and fires always');
is(ask($node, 'SET chatcrypt.allow_drop = on; DROP EXTENSION chatcrypt; SELECT count(*) FROM pg_event_trigger'), '0',
	'the event trigger is dropped with the extension');

$node->stop;
done_testing();
