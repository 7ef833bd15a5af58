# Re-encryption and purging on a server that is killed between their batches; envelopes that
# prepared transactions and long transactions hold.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('upkeep', conf => "restart_after_crash = on\nmax_prepared_transactions = 5\nautovacuum = off\n");

# A statement in a connection of its own, for which the test does not wait.
sub start_sql
{
	my ($sql) = @_;
	my %run = (out => '', err => '');

	$run{handle} = IPC::Run::start(
		[ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-c', $sql ],
		'<', \undef, '>', \$run{out}, '2>', \$run{err});
	return \%run;
}

# The rows of the statement, or its error.
sub end_sql
{
	my ($run) = @_;
	$run->{handle}->finish;
	chomp $run->{out};
	return $run->{err} ne '' ? $run->{err} : $run->{out};
}

sub value
{
	return $node->safe_psql('postgres', $_[0]);
}

sub everything_opens
{
	my ($name) = @_;
	is(ask($node, 'CALL chatcrypt.verify_all()'), '0', "$name: everything opens");
	return;
}

# All messages, as they read now.
my $fingerprint = 'SELECT md5(string_agg(message_id || body, $$,$$ ORDER BY message_id)) FROM chatcrypt.messages';

# Re-encryption, killed at several moments; one of the kills ends a single backend, and with it the
# shared memory.
my $messages = 30000;
$node->safe_psql('postgres', <<"SQL");
SELECT chatcrypt.create_chat(1);
INSERT INTO chatcrypt.messages (message_id, chat_id, body)
	SELECT chatcrypt.to_uuid(i), chatcrypt.to_uuid(1), 'body ' || i FROM generate_series(1, $messages) AS i;
CREATE TABLE kept (id bigint, chat bigint, envelope bytea);
CREATE INDEX ON kept (chat);
INSERT INTO kept SELECT i, 1, chatcrypt.encrypt(1, i, 'kept ' || i) FROM generate_series(1, $messages) AS i;
SELECT chatcrypt.register_envelopes('kept', 'envelope', 'chat', 'id');
SQL
my $before = value($fingerprint);

my $moved = 'SELECT count(*) FROM chatcrypt.sealed_message WHERE dek_version = %d';
my $newest;

# Holds up a re-encryption once it has moved this many messages.  The server looks for the number,
# because a test that polls may see it only when the re-encryption is at its end.
sub hold_up
{
	my ($count) = @_;
	my $holder = session($node);
	answer($holder, 'BEGIN');
	answer($holder, sprintf 'DO $$ BEGIN WHILE (%s) <= %d LOOP PERFORM pg_sleep(0.005); END LOOP; LOCK TABLE chatcrypt.sealed_message IN SHARE MODE; END $$',
		sprintf($moved, $newest), $count);
	return $holder;
}

foreach my $kill (1 .. 3)
{
	$newest = value('SELECT chatcrypt.rotate_chat(1)');
	my $run = start_sql('CALL chatcrypt.reencrypt_chat(1, batch => 20)');
	my $holder = hold_up(2000 * $kill);
	ok(wait_until(60, sub { value(q{SELECT waits_for FROM chatcrypt.progress WHERE task = 're-encrypt'}) eq answer($holder, 'SELECT pg_backend_pid()') }),
		"kill $kill: re-encryption is running, and progress names the session that holds it up");
	value(q{SELECT pg_logical_emit_message(true, 'flush', '')});		# its own commits do not wait for the disk
	if ($kill == 2)
	{
		my $pid = value(q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL%'});
		kill 'KILL', $pid or die "cannot kill $pid: $!";
		end_sql($run);
		ok(wait_until(60, sub { run_log([ 'pg_isready', '-q', '-d', $node->connstr('postgres') ]) }), "kill $kill: the server is back");
	}
	else
	{
		$node->stop('immediate');
		end_sql($run);
		$node->start;
	}
	my $done = value(sprintf $moved, $newest);
	cmp_ok($done, '>', 0, "kill $kill: some messages are re-encrypted");
	cmp_ok($done, '<', $messages, "kill $kill: some messages are not re-encrypted");
	everything_opens("kill $kill");
	is(value($fingerprint), $before, "kill $kill: every message reads as before");
}
like(ask($node, 'CALL chatcrypt.reencrypt_chat(1)'), qr/^\d+\|0$/,
	're-encryption completes when it is called again');
is(value(sprintf $moved, $newest), $messages, 'all messages are under the newest key');
is(value("SELECT count(*) FROM kept WHERE chatcrypt.dek_version(envelope) = $newest"), $messages,
	'all registered envelopes are under the newest key');
is(value($fingerprint), $before, 'every message reads as before the re-encryption');
is(value("SELECT count(*) FROM kept WHERE chatcrypt.decrypt(chat, id, envelope) = 'kept ' || id"), $messages,
	'every registered envelope reads as before the re-encryption');

# Purging, killed while it destroys keys, and while it waits.
my $chats = 3000;
$node->safe_psql('postgres', <<"SQL");
SELECT chatcrypt.create_chats(ARRAY(SELECT generate_series(1001::bigint, 1000 + $chats)));
UPDATE chatcrypt.chat SET external_envelopes = false;
INSERT INTO chatcrypt.messages (message_id, chat_id, body)
	SELECT chatcrypt.to_uuid(100000 + i), chatcrypt.to_uuid(i), 'needs the first key' FROM generate_series(1001, 1000 + $chats, 3) AS i;
CALL chatcrypt.rotate_due(max_age => '0');
SQL
$before = value($fingerprint);
my $destroyed = q{SELECT count(*) FROM chatcrypt.dek WHERE state = 'destroyed'};

my $writer = session($node);
answer($writer, 'BEGIN');
answer($writer, 'SELECT count(*) FROM chatcrypt.chat');
my $run = start_sql(q{CALL chatcrypt.purge_unused_keys(max_wait => '1 hour')});
ok(wait_until(60, sub { value(q{SELECT task FROM chatcrypt.progress}) eq 'wait for older transactions' }),
	'a purge waits for older transactions, and progress says so');
is(value(q{SELECT waits_for FROM chatcrypt.progress}), answer($writer, 'SELECT pg_backend_pid()'),
	'progress names the session that the purge waits for');
is(value($destroyed), 0, 'a purge that waits has destroyed nothing');
$node->stop('immediate');
end_sql($run);
$node->start;
is(value($destroyed), 0, 'a purge that was killed while it waited has destroyed nothing');
everything_opens('a purge that was killed while it waited');

$run = start_sql('CALL chatcrypt.purge_unused_keys()');
ok(wait_until(60, sub { value($destroyed) > 100 }), 'a purge destroys keys');
$node->stop('immediate');
end_sql($run);
$node->start;
my $some = value($destroyed);
cmp_ok($some, '>', 100, 'a purge that was killed has destroyed some keys');
cmp_ok($some, '<', 2 * $chats / 3, 'a purge that was killed has left some keys');
everything_opens('a purge that was killed while it destroyed');
is(value(q{SELECT count(*) FROM chatcrypt.key_event WHERE event = 'purge'}), $some,
	'the history of keys has every key that the purge destroyed');

$writer = session($node);
answer($writer, 'BEGIN');
answer($writer, 'SELECT count(*) FROM chatcrypt.chat');
$run = start_sql(q{CALL chatcrypt.purge_unused_keys(max_wait => '1 hour')});
ok(wait_until(60, sub { value(q{SELECT task FROM chatcrypt.progress}) eq 'wait for older transactions' }),
	'the next purge waits for older transactions');
answer($writer, 'COMMIT');
like(end_sql($run), qr/^\d+\|0\|0$/, 'the next purge finishes when older transactions have ended');
is(value($destroyed), 2 * $chats / 3 + $newest - 1,
	'all keys that no envelope names are destroyed');
is(value(q{SELECT count(*) FROM chatcrypt.dek AS d JOIN chatcrypt.sealed_message AS m USING (chat_id, dek_version) WHERE d.state = 'destroyed'}),
	0, 'no key that a message names is destroyed');
everything_opens('after the purge');
is(value($fingerprint), $before, 'every message reads as before the purge');

# A purge waits for what a prepared transaction has sealed as well, also after a restart.
$node->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chat(2);
UPDATE chatcrypt.chat SET external_envelopes = false WHERE chat_id = chatcrypt.to_uuid(2);
BEGIN;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(900000), chatcrypt.to_uuid(2), 'prepared');
PREPARE TRANSACTION 'slow';
SELECT chatcrypt.rotate_chat(2);
SQL
my $purge = session($node);
is(answer($purge, q{CALL chatcrypt.purge_unused_keys(max_wait => '300 ms')}), '0|0|1', 'a purge waits for a prepared transaction');
start($purge, q{CALL chatcrypt.purge_unused_keys(max_wait => '3 s')});
ok(wait_until(10, sub { value(q{SELECT waits_for FROM chatcrypt.progress}) eq '0' }),
	'progress shows no session for a prepared transaction');
is(outcome($purge), '0|0|1', 'a purge waits for a prepared transaction until its max_wait is over');
$purge->quit;
$node->restart;
$purge = session($node);
is(answer($purge, q{CALL chatcrypt.purge_unused_keys(max_wait => '300 ms')}), '0|0|1',
	'a purge waits for a prepared transaction after a restart too');
$node->safe_psql('postgres', q{COMMIT PREPARED 'slow'});
is(answer($purge, q{CALL chatcrypt.purge_unused_keys(max_wait => '10 s')}), '0|0|0',
	'a purge finds that a key is in use once the prepared transaction is committed');
is(value('SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(2)'), 'prepared',
	'the key in use opens the message of the prepared transaction');
is(answer($purge, 'CALL chatcrypt.reencrypt_chat(2)'), '1|0',
	'the message of the prepared transaction is re-encrypted');
is(answer($purge, q{CALL chatcrypt.purge_unused_keys(max_wait => '10 s')}), '1|0|0',
	'a purge destroys the key that is not in use any more');

# Registrations are dumped with the tables that they name, and a restored database uses them.
$node->command_ok([ 'pg_dump', '--file', $node->basedir . '/dump.sql', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $node->basedir . '/dump.sql', $node->connstr('restored') ],
	'the dump is restored');
is(ask($node, 'SELECT relation, envelope_column FROM chatcrypt.envelope_column', 'restored'), 'kept|envelope',
	'the restored database has the registration');
is(ask($node, 'CALL chatcrypt.verify_all()', 'restored'), '0',
	'every envelope opens in the restored database');
ask($node, 'UPDATE kept SET envelope = set_byte(envelope, 40, get_byte(envelope, 40) # 1) WHERE id = 1', 'restored');
is(ask($node, 'CALL chatcrypt.verify_all()', 'restored'), '1',
	'verify_all() finds a damaged envelope in the restored database');

$node->stop;
done_testing();
