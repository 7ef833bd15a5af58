# What a purge must not miss: envelopes that one transaction hands to the next while the purge
# waits, under any snapshot.  And what it holds up: nothing.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('purge', conf => "autovacuum = off\n");

# Columns and indexes of all kinds; a chat for each.
my %place = (
	kept => { chat => 1, columns => 'chat bigint', index => '(chat)' },
	small => { chat => 2, columns => 'chat smallint', index => '(chat, id)' },
	plain => { chat => 3, columns => 'chat integer' },
	partial => { chat => 4, columns => 'chat bigint', index => '(chat) WHERE id < 0' },
	hashed => { chat => 5, columns => 'chat bigint', index => 'USING hash (chat)' },
	parts => { chat => 6, columns => 'chat bigint', index => '(chat)', partitions => 1 },
	named => { chat => 7, columns => 'chat uuid', index => '(chat)' },
	large => { chat => 8, columns => 'chat bigint', index => '(chat)' });
my @places = sort keys %place;

$node->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chats(ARRAY(SELECT generate_series(1::bigint, 40)));
UPDATE chatcrypt.chat SET external_envelopes = false;
SQL
foreach my $name (@places)
{
	my $by = $place{$name}{partitions} ? ' PARTITION BY HASH (id)' : '';
	$node->safe_psql('postgres', "CREATE TABLE $name (id bigint, $place{$name}{columns}, envelope bytea)$by");
	$node->safe_psql('postgres', "CREATE TABLE ${name}_$_ PARTITION OF $name FOR VALUES WITH (MODULUS 2, REMAINDER $_)")
		foreach $by ? (0, 1) : ();
	my ($using, $on) = ($place{$name}{index} // '') =~ /^(USING \w+ )?(.*)$/;
	$node->safe_psql('postgres', "CREATE INDEX ON $name " . ($using // '') . $on) if $on;
	$node->safe_psql('postgres', "SELECT chatcrypt.register_envelopes('$name', 'envelope', 'chat', 'id')");
}
$node->safe_psql('postgres', 'ALTER TABLE large ALTER envelope SET STORAGE EXTERNAL');

# Files are a place of their own: the envelope that is handed on is a sealed part.
my $file = 20;

# Inserts the envelope into a place, for the chat of that place.
sub row
{
	my ($name, $envelope) = @_;
	my $chat = $name eq 'named' ? 'chatcrypt.to_uuid(7)' : $place{$name}{chat};
	return "INSERT INTO $name (id, chat, envelope) VALUES (1, $chat, $envelope)";
}

sub value
{
	return $node->safe_psql('postgres', $_[0]);
}

my $held = q{SELECT backend_xmin FROM pg_stat_activity WHERE query LIKE 'CALL chatcrypt.purge%' AND state = 'active'};

sub is_held
{
	return wait_until(60, sub { value($held) ne '' });
}

sub is_waiting
{
	return wait_until(60, sub { value('SELECT task FROM chatcrypt.progress') =~ /wait for older transactions/ });
}

# Starts a session with an open transaction.
sub begun
{
	my ($how) = @_;
	my $session = session($node);
	answer($session, 'BEGIN' . ($how // ''));
	answer($session, 'SELECT 1');
	return $session;
}

sub take
{
	my ($session, $id) = @_;
	return answer($session, "SELECT set_config('my.envelope', encode(envelope, 'hex'), false) <> '' FROM kept WHERE id = $id");
}

sub store
{
	my ($session, $chat, $id) = @_;
	return answer($session, "INSERT INTO kept VALUES ($id, $chat, decode(current_setting('my.envelope'), 'hex')); COMMIT");
}

sub state_of
{
	my ($chat, $version) = @_;
	return value("SELECT state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid($chat) AND dek_version = $version");
}

# Keeps a purge whose first fence is gone from ending, until it holds its snapshot for seconds at a
# time: each snapshot that it releases is followed by one that it holds twice as long.  Returns the
# session that holds the purge up then.
sub lengthen_holds
{
	my ($blocker) = @_;

	foreach (1 .. 12)
	{
		wait_until(2, sub { value($held) ne '' });
		my $since = time;
		wait_until(60, sub { value($held) eq '' }) or die 'the snapshot is not let go of';
		return $blocker if time - $since >= 4;
		my $next = begun();
		answer($blocker, 'COMMIT');
		$blocker->quit;
		$blocker = $next;
	}
	die 'the snapshot is never held for long';
}

# Rows that are stored, deleted and vacuumed away, all while a purge holds its snapshot.
my $writer = begun();
foreach my $name (@places)
{
	my $length = $name eq 'large' ? 100000 : 1;
	is(answer($writer, row($name, "chatcrypt.encrypt($place{$name}{chat}, 1, repeat('handed on', $length))")), '',
		"$name: an envelope is stored");
	value("SELECT chatcrypt.rotate_chat($place{$name}{chat})");
}
value("SELECT chatcrypt.begin_attachment($file, $file)");
is(answer($writer, "INSERT INTO chatcrypt.sealed_attachment_part (file_id, part, chat_id, last, sealed)
		SELECT file_id, 0, chat_id, true, chatcrypt.encrypt_attachment(chat_id, file_id, 'handed on') FROM chatcrypt.sealed_attachment
		WHERE file_id = chatcrypt.to_uuid($file)"), '', 'a file: a part is stored');
value("SELECT chatcrypt.rotate_chat($file)");
# The metadata of the file must name version 2, so that the part alone names version 1.
value('SELECT chatcrypt.rotate_chat(22); SELECT chatcrypt.begin_attachment(22, 22)');
value("SET statement_timeout = '20 s'; UPDATE chatcrypt.sealed_attachment AS f SET encrypted_metadata = o.encrypted_metadata, dek_version = 2
	FROM chatcrypt.sealed_attachment AS o WHERE f.file_id = chatcrypt.to_uuid($file) AND o.file_id = chatcrypt.to_uuid(22)");
value(q{INSERT INTO kept VALUES (9, 9, chatcrypt.encrypt(9, 9, 'old'))});
value('SELECT chatcrypt.rotate_chat(9), chatcrypt.rotate_chat(10)');
my $purge = session($node);
start($purge, q{CALL chatcrypt.purge_unused_keys(max_wait => '5 min')});
ok(is_waiting(), 'a purge waits for older transactions');
is(value($held), '', 'a purge that waits holds no snapshot');
my $blocker = begun();
answer($writer, 'COMMIT');
$blocker = lengthen_holds($blocker);

my $first = begun();
answer($first, 'CREATE TEMP TABLE hands (name text, envelope bytea) ON COMMIT DROP');
answer($first, "INSERT INTO hands SELECT '$_', envelope FROM $_ WHERE id = 1") foreach @places;
answer($first, "INSERT INTO hands SELECT 'file', sealed FROM chatcrypt.sealed_attachment_part WHERE file_id = chatcrypt.to_uuid($file)");
is(answer($first, 'SELECT count(*) FROM hands'), @places + 1,
	'a transaction that the purge does not wait for reads the envelopes');
my $exporter = begun(' ISOLATION LEVEL REPEATABLE READ');
my $exported = answer($exporter, 'SELECT pg_export_snapshot()');
value("DELETE FROM $_") foreach @places, 'chatcrypt.sealed_attachment';
value('VACUUM');
my $last = begun();
answer($blocker, 'COMMIT');
ok(is_held(), 'the purge holds a snapshot');
my $snapshot = value($held);
is(value(q{SELECT classid::bigint, objid, objsubid, mode FROM pg_locks WHERE locktype = 'advisory' AND granted}),
	0x66656e63 . '|0|3|ExclusiveLock', 'the purge has the lock by which one session of a database holds a snapshot');
answer($first, row($_, "(SELECT envelope FROM hands WHERE name = '$_')")) foreach @places;
# The metadata of the file is sealed with the new key; its part is not.
is(answer($first, "SELECT chatcrypt.number_of(chatcrypt.begin_attachment($file, $file))"), $file, 'the file is begun anew');
answer($first, "INSERT INTO chatcrypt.sealed_attachment_part (file_id, part, chat_id, last, sealed)
	SELECT chatcrypt.to_uuid($file), 0, chatcrypt.to_uuid($file), true, envelope FROM hands WHERE name = 'file'");
is(answer($first, 'COMMIT'), '', 'the envelopes are stored again');
my @readers = (begun(), begun(' ISOLATION LEVEL REPEATABLE READ'));
is(take($_, 1), 't', 'two transactions read an envelope that was stored again') foreach @readers;
my $importer = session($node);
answer($importer, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
answer($importer, "SET TRANSACTION SNAPSHOT '$exported'");
is(take($importer, 9), 't',
	'a transaction under an older exported snapshot reads an envelope that was deleted');
value("DELETE FROM $_") foreach @places, 'chatcrypt.sealed_attachment';
value('VACUUM');
is(value(join(' UNION ALL ', map { "SELECT 1 FROM $_" } @places)), '',
	'the rows are deleted again');
is(value($held), $snapshot, 'the purge has held one snapshot all the time');
answer($_, 'COMMIT') foreach $exporter, $last;
sleep 1;
ok(is_waiting(), 'the purge waits for a transaction with an older snapshot');
is(store($importer, 9, 9), '', 'the transaction with the older snapshot stores its envelope');
is(outcome($purge), '2|0|0',
	'the purge has seen every envelope, and destroys the two keys that no envelope names');
is(state_of(10, 1), 'destroyed', 'the key of a chat without envelopes is destroyed');
is(state_of($place{$_}{chat}, 1), 'decrypt_only',
	"$_: the key of a handed-on envelope is not destroyed") foreach @places;
is(state_of($file, 1), 'decrypt_only', 'a file: the key of a handed-on part is not destroyed');
is(store($_, 1, 1), '', 'the envelope is stored a third time') foreach @readers;
is(value(q{SELECT string_agg(chatcrypt.decrypt(chat, id, envelope), ', ' ORDER BY chat) FROM kept}), 'handed on, handed on, old',
	'envelopes that were handed on open');
is(ask($node, 'CALL chatcrypt.verify_all()'), '0', 'every envelope opens after the purge');
value('DELETE FROM kept');
is(answer($purge, 'CALL chatcrypt.purge_unused_keys()'), @places + 2 . '|0|0',
	'the keys are destroyed when no envelope names them any more');
$_->quit foreach $writer, $blocker, $first, $last, $exporter, $importer, @readers;

# A table that is truncated, while an envelope that was read from it is in the hands of a client
# only.
$writer = begun();
answer($writer, q{INSERT INTO kept VALUES (1, 11, chatcrypt.encrypt(11, 1, 'handed on'))});
value('SELECT chatcrypt.rotate_chat(11)');
start($purge, q{CALL chatcrypt.purge_chat_keys(11, max_wait => '5 min')});
ok(is_waiting(), 'the next purge waits for older transactions');
$blocker = begun();
answer($writer, 'COMMIT');
$blocker = lengthen_holds($blocker);
$last = begun();
answer($blocker, 'COMMIT');
ok(is_held(), 'the next purge holds a snapshot');
my $reader = begun();
answer($reader, 'SAVEPOINT s');
$reader->query(q{SELECT encode(envelope, 'hex') AS taken FROM kept \\gset});
answer($reader, 'ROLLBACK TO s');
is(ask($node, q{SET lock_timeout = '3 s'; TRUNCATE kept}), '',
	'a TRUNCATE of the table is not held up by the purge');
answer($last, 'COMMIT');
sleep 1;
ok(is_waiting(), 'the purge begins again after the TRUNCATE');
is(answer($reader, q{INSERT INTO kept VALUES (1, 11, decode(:'taken', 'hex')); COMMIT}), '',
	'the envelope that was read before the TRUNCATE is stored');
is(outcome($purge), '0', 'the purge has seen the envelope, and destroys no key');
is(value('SELECT chatcrypt.decrypt(chat, id, envelope) FROM kept'), 'handed on',
	'the envelope opens after the purge');

# Two purges, and an index that is built meanwhile, do not wait for each other for long.
value('SELECT chatcrypt.rotate_chat(12), chatcrypt.rotate_chat(13)');
$last = begun();
my $other = session($node);
start($purge, q{CALL chatcrypt.purge_chat_keys(12, max_wait => '5 min')});
start($other, q{CALL chatcrypt.purge_chat_keys(13, max_wait => '5 min')});
ok(is_waiting(), 'two purges wait for older transactions');
is(ask($node, q{SET statement_timeout = '60 s'; CREATE INDEX CONCURRENTLY ON kept (chat)}), '',
	'CREATE INDEX CONCURRENTLY does not wait for purges');
answer($last, 'COMMIT');
is(outcome($_), '1',
	'two purges end when the older transactions have ended') foreach $purge, $other;

# Advisory locks of applications, in both of their forms, do not interfere.
value('SELECT chatcrypt.rotate_chat(21)');
my $application = session($node);
answer($application, 'SELECT pg_advisory_lock(1717923427, 0), pg_advisory_lock(1717923427::bigint << 32)');
is(answer($purge, q{CALL chatcrypt.purge_chat_keys(21, max_wait => '30 s')}), '1', 'a purge ends while an application holds locks of the same numbers');
$application->quit;

value('SELECT chatcrypt.rotate_chat(14)');
$last = begun();
is(answer($purge, q{CALL chatcrypt.purge_chat_keys(14, max_wait => '0')}),
	'ERROR:  no key of chat 14 was destroyed: older transactions are running still',
		'a purge without patience says which transactions are left');
answer($last, 'COMMIT');
is(answer($purge, q{CALL chatcrypt.purge_chat_keys(14, max_wait => '0')}), '1',
	'a purge without patience succeeds where no older transaction is left');

# Where a snapshot does not keep rows, no key is destroyed.
value('SELECT chatcrypt.rotate_chat(15)');
value('CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler');
value('CREATE TABLE odd (id bigint, chat bigint, envelope bytea) USING other');
my $odd = value(q{SELECT chatcrypt.register_envelopes('odd', 'envelope', 'chat', 'id')});
is(answer($purge, 'CALL chatcrypt.purge_chat_keys(15)'), 'ERROR:  no key is purged while envelopes are registered in table "odd"',
	'no key is purged while a registered table is no heap');
is(answer($purge, 'CALL chatcrypt.purge_unused_keys()'), '0|1|0',
	'purge_unused_keys() counts the chat as left out while a registered table is no heap');
is(state_of(15, 1), 'decrypt_only',
	'the key of the chat is not destroyed while a registered table is no heap');
value("SELECT chatcrypt.unregister_envelopes('$odd')");
is(answer($purge, 'CALL chatcrypt.purge_chat_keys(15)'), '1',
	'the key is purged when the table is registered no more');
$_->quit foreach $purge, $other, $writer, $blocker, $last, $reader;

value('SELECT chatcrypt.rotate_chat(16)');
if (value(q{SELECT count(*) FROM pg_settings WHERE name = 'old_snapshot_threshold'}))
{
	$node->append_conf('postgresql.conf', 'old_snapshot_threshold = 1h');
	$node->restart;
	is(ask($node, "CALL chatcrypt.$_"), 'ERROR:  no key is purged while old_snapshot_threshold is set', "old_snapshot_threshold: $_")
		foreach 'purge_chat_keys(16)', 'purge_unused_keys()';
}
else
{
	is(ask($node, 'CALL chatcrypt.purge_chat_keys(16)'), '1',
		'this PostgreSQL has no setting that removes rows under a snapshot');
}

$node->stop;
done_testing();
