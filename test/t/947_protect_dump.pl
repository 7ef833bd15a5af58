# Dumps, restores and replication of protected tables carry the sealed form.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('protect_dump', streaming => 'logical');
my $folder = PostgreSQL::Test::Utils::tempdir();

sub value
{
	my ($sql, $database) = @_;
	return $node->safe_psql($database // 'postgres', $sql);
}

# The schema's name sorts before chatcrypt, so its rows are restored before their keys.
value(<<'SQL');
CREATE SCHEMA app;
CREATE TABLE app.message (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text, note varchar(20), data jsonb);
CREATE TABLE app.plain (id int);
SELECT chatcrypt.protect('app.message', c, 'chat_id', 'id') FROM unnest('{body,note,data}'::name[]) AS c;
INSERT INTO app.message SELECT g, g % 5, 'THEBODY ' || g || repeat(' x', g * 5), 'THENOTE ' || g, '{"THEDATA": 1}' FROM generate_series(1, 500) AS g;
SQL
my $content = q{SELECT md5(string_agg(concat_ws('|', id, body, note, data), '|' ORDER BY id)) FROM app.message};
my $stored = "SET chatcrypt.show = sealed; $content";
my ($content_there, $stored_there) = (value($content), value($stored));

sub dump_to
{
	my ($name, @options) = @_;
	command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$folder/$name", @options ], "pg_dump @options");
	return "$folder/$name";
}

sub is_restored
{
	my ($database, $what) = @_;
	is(value($content, $database), $content_there, "$what: the same plaintext");
	is(value($stored, $database), $stored_there, "$what: the same bytes");
	is(value(q{SELECT count(*) FROM chatcrypt.verify_protected('app.message')}, $database), 0, "$what: all values open");
	value(q{INSERT INTO app.message VALUES (1000, 1, 'new', 'new', '[]')}, $database);
	is(value('SELECT body FROM app.message WHERE id = 1000', $database), 'new', "$what: new rows can be written and read");
	return;
}

foreach my $options ([], ['--inserts'], ['--rows-per-insert=50'])
{
	my $name = join('', 'plain', @$options) =~ tr/a-z0-9//cdr;
	my $file = dump_to("$name.sql", @$options);
	unlike(slurp_file($file), qr/THEBODY|THENOTE|THEDATA/, 'the dump holds no plaintext');
	value("CREATE DATABASE $name");
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($name), '-f', $file ], 'the dump is restored');
	is_restored($name, "@$options");
}
my $archive = dump_to('archive', '-Fc');
value('CREATE DATABASE parallel');
{
	local $ENV{PGOPTIONS} = '-c session_replication_role=replica';
	$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('parallel'), '-j', '2', $archive ], 'pg_restore -j 2');
}
is_restored('parallel', '-j 2');

# The dump of one schema has the labels, and rows whose keys do not exist: they are stored as they are.
my $alone = dump_to('alone.sql', '-n', 'app');
value('CREATE DATABASE alone');
value('CREATE EXTENSION chatcrypt', 'alone');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('alone'), '-f', $alone ], 'the dump of one schema is restored');
is(value($stored, 'alone'), $stored_there, 'the restored values have the same bytes');
like(ask($node, 'SELECT body FROM app.message WHERE id = 1', 'alone'), qr/^ERROR:  chat 1 does not exist/, 'reading a value reports that its chat does not exist');
is(value(q{SELECT DISTINCT reason FROM chatcrypt.verify_protected('app.message')}, 'alone'), 'no key: there is no such chat', 'verify_protected() reports the same');

# A table without labels accepts no rows, because it would store them in plaintext.
value('CREATE DATABASE unlabelled');
value('CREATE EXTENSION chatcrypt', 'unlabelled');
my $unlabelled = dump_to('unlabelled.sql', '-n', 'app', '--no-security-labels');
my (undef, undef, $errors) = $node->psql('unlabelled', slurp_file($unlabelled), on_error_stop => 0);
like($errors, qr/table "message" has the access method chatcrypt and no protected column/, 'without labels, restoring rows is refused');
is(value('SELECT count(*) FROM app.message', 'unlabelled'), 0, 'without labels, no row is restored');

# A restore does not accept values that are damaged or belong to another row.
my $swapped = value(q{SET chatcrypt.show = sealed; SELECT body FROM app.message WHERE id = 1});
like(ask($node, "SET check_function_bodies = off; INSERT INTO app.message (id, chat_id, body) VALUES (2000, 1, '$swapped')"),
	qr/^ERROR:  a value for message 2000 of chat 1 does not open/, 'a value of another row is refused in a restore');
is(value(qq{INSERT INTO app.message (id, chat_id, body) VALUES (2000, 1, '$swapped'); SELECT body = '$swapped' FROM app.message WHERE id = 2000; DELETE FROM app.message WHERE id = 2000}), 't',
	'outside a restore, it is stored as text');

# pg_dump is recognized only by what it sets in its own session, not by a setting of a role.
value('ALTER ROLE postgres SET synchronize_seqscans = off');
is(value('SELECT body FROM app.message WHERE id = 1'), 'THEBODY 1 x x x x x', 'a setting of a role does not show the sealed form');
value('ALTER ROLE postgres RESET synchronize_seqscans');

# With logical replication the subscriber gets the sealed form, in the initial copy and row by row.
value('CREATE DATABASE subscriber');
value(<<'SQL', 'subscriber');
CREATE EXTENSION chatcrypt;
CREATE SCHEMA app;
CREATE TABLE app.message (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text, note varchar, data jsonb) USING chatcrypt;
SQL
foreach my $label (split /\n/, value(q{SELECT format('SECURITY LABEL FOR chatcrypt ON COLUMN app.message.%I IS %L', attname, label)
	FROM pg_seclabel JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid WHERE objoid = 'app.message'::regclass}))
{
	value($label, 'subscriber');
}
value('CREATE PUBLICATION app FOR TABLE app.message');
value(q{SELECT pg_create_logical_replication_slot('app', 'pgoutput')});
value(sprintf(q{CREATE SUBSCRIPTION app CONNECTION '%s' PUBLICATION app WITH (create_slot = false, slot_name = 'app')}, $node->connstr('postgres') =~ s/'/''/gr), 'subscriber');
$node->wait_for_subscription_sync($node, 'app', 'subscriber');
is(value($stored, 'subscriber'), $stored_there, 'the initial copy has the same bytes');
value(q{UPDATE app.message SET body = 'THEBODY changed' WHERE id = 3; INSERT INTO app.message VALUES (1001, 2, 'THEBODY', NULL, NULL); DELETE FROM app.message WHERE id = 4});
$node->wait_for_catchup('app');
is(value($stored, 'subscriber'), value($stored), 'replicated changes have the same bytes');
value('ALTER SUBSCRIPTION app DISABLE; ALTER SUBSCRIPTION app SET (slot_name = NONE); DROP SUBSCRIPTION app', 'subscriber');

# A physical standby opens what is replicated to it.
my $backup = 'standby';
$node->backup($backup);
my $standby = PostgreSQL::Test::Cluster->new('protect_standby');
$standby->init_from_backup($node, $backup, has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT body FROM app.message WHERE id = 3'), 'THEBODY changed', 'a standby reads plaintext');

done_testing();
