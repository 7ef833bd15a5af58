# The drills of docs/operations.md in which data comes back: a dump in another cluster, and a
# recovery to a moment before chats were shredded.
use strict;
use warnings;
use Chatcrypt::Drill;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $old = Chatcrypt::Test->start('old', bao => $bao, streaming => 1, conf => "wal_level = replica\n");

# A test runs every drill of the page.
my ($drills) = slurp_file('docs/operations.md') =~ /^## Drills\n(.*?)(?=^## |\z)/ms;
my $tests = join '', map { slurp_file($_) } glob('test/t/87*.pl');
ok(index($tests, "Chatcrypt::Drill->new('$_'") >= 0,
	"a test runs the drill: $_") foreach $drills =~ /^### (.*)$/mg;

sub readable
{
	my ($node, @chats) = @_;
	return join ' ', grep { ask($node, "SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid($_)", 'app') eq "body $_" } @chats;
}

$old->safe_psql('postgres', 'DROP EXTENSION chatcrypt; CREATE DATABASE app');
$old->safe_psql('app', <<'SQL');
CREATE EXTENSION chatcrypt;
CREATE ROLE app LOGIN;
GRANT chatcrypt_reader TO app;
CREATE ROLE cron LOGIN;
GRANT chatcrypt_auditor TO cron;
SELECT chatcrypt.create_tenant('leaves');
SELECT chatcrypt.create_chats(array_agg(g)) FROM generate_series(1::bigint, 12) AS g;
SELECT chatcrypt.create_chats(ARRAY[21, 22]::bigint[], tenant => 'leaves');
SELECT chatcrypt.create_chat(31, ARRAY['alice', 'bob', 'carol']);
INSERT INTO chatcrypt.messages (message_id, chat_id, body) SELECT chatcrypt.to_uuid(c), chatcrypt.to_uuid(c), 'body ' || c
	FROM (SELECT generate_series(1, 12) UNION ALL VALUES (21), (22), (31)) AS v (c);
SELECT chatcrypt.rotate_chat(g) FROM generate_series(1::bigint, 6) AS g;
SELECT chatcrypt.shred_chat(12, 'irreversible');
SELECT chatcrypt.shred_chat(11, 'irreversible');
SELECT chatcrypt.import_dek(11, decode(repeat('ab', 32), 'hex'), 5);
DELETE FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(11);
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(11), chatcrypt.to_uuid(11), 'body 11');
SELECT chatcrypt.seal_events();
SQL

# ---------- a dump ----------

my $restored = Chatcrypt::Test->start('restored', bao => $bao, extension => 0, conf => "log_statement = none\n");
my $drill = Chatcrypt::Drill->new('Dump and restore into another cluster', Chatcrypt::Drill::cluster(OLD => $old),
	Chatcrypt::Drill::cluster(NEW => $restored), DB => 'app');
$drill->run(qr/pg_dumpall/);
my $steps = $drill->run(qr/kms_check/);
like($steps, qr/unwrap\|t/, 'dump: the key service can be tried before there is data');
unlike($steps, qr/\|f\|/, 'dump: every step of kms_check() succeeds');
$drill->run(qr/pg_restore/);
$drill->run(qr/chatcrypt\.warm/);
$bao->seal;
is(readable($restored, 7 .. 11, 21, 22, 31), '7 8 9 10 11 21 22 31',
	'dump: chats that were warmed are read without the key service');
$bao->unseal;
ok(wait_until(20, sub { ask($restored, 'SELECT bool_and(ok) FROM chatcrypt.kms_check(current_setting($$chatcrypt.default_kms_key$$))', 'app') eq 't' }),
	'dump: the key service is back');
is($drill->run(qr/diff/), '',
	'dump: the restored cluster has as many messages and keys as the old one');
is($drill->run(qr/verify_keys/), '',
	'dump: all keys open, the history is whole, and no finding is critical');
is(readable($restored, 1 .. 12, 21, 22, 31), '1 2 3 4 5 6 7 8 9 10 11 21 22 31',
	'dump: every message that could be read before can be read');
$drill->finish;
$restored->stop;

# ---------- a recovery ----------

# A base backup, an archive, and a target time in between.
$old->enable_archiving;
$old->restart;
$old->backup('base');
my $target = ask($old, 'SELECT now()', 'app');
$old->safe_psql('app', q{SELECT pg_sleep(1.1); SELECT chatcrypt.shred_chat(1, 'irreversible')});
$old->safe_psql('app', q{SELECT chatcrypt.shred_tenant('leaves', 'irreversible')});
$old->safe_psql('app', q{CALL chatcrypt.delete_chat(2, 'irreversible')});
$old->safe_psql('app', q{SELECT chatcrypt.create_chat(99); SELECT chatcrypt.shred_chat(99, 'irreversible')});
$old->safe_psql('app', q{SELECT chatcrypt.remove_participant(31, 'bob'), chatcrypt.remove_participant(31, 'carol'), chatcrypt.add_participant(31, 'carol');
	UPDATE chatcrypt.tenant SET retention = '1 year' WHERE tenant = 'leaves'});
$old->safe_psql('app', 'SELECT chatcrypt.seal_events()');
$old->safe_psql('app', q{SELECT chatcrypt.shred_chat(3, 'irreversible')});

# A node whose data directory the drill makes; the settings by which it differs from the old one
# come last in the file.
my $new = PostgreSQL::Test::Cluster->new('recovered');
mkdir $new->data_dir, 0700 or die "$!";
my $backup = $old->backup_dir . '/base';
open my $conf, '>>', "$backup/postgresql.conf" or die "$!";
print $conf "port = " . $new->port . "\nunix_socket_directories = '" . $new->host . "'\narchive_mode = off\n";
close $conf;
my %variables = (Chatcrypt::Drill::cluster(OLD => $old), Chatcrypt::Drill::cluster(NEW => $new), DB => 'app', BACKUP => $backup,
	ARCHIVE => $old->archive_dir, TARGET => $target, SAFE => PostgreSQL::Test::Utils::tempdir());
$drill = Chatcrypt::Drill->new('Recovery to before a shredding', %variables, OLD => "$variables{OLD} user=cron");
$drill->run(qr/key_event\.copy/);
$old->safe_psql('app', 'SELECT pg_switch_wal()');
$old->stop;

# Where the old cluster is lost and the copy of cron is old, the archive has the whole history; no
# key service is needed.
my $latest = PostgreSQL::Test::Cluster->new('latest');
$latest->init_from_backup($old, 'base', has_restoring => 1, standby => 0);
$latest->append_conf('postgresql.conf', "chatcrypt.vault_token_file = ''\n");
$latest->start;
ok($latest->poll_query_until('app', 'SELECT NOT pg_is_in_recovery()'),
	'a recovery to the end of the archive completes');
my %again = (%variables, Chatcrypt::Drill::cluster(OLD => $latest), SAFE => PostgreSQL::Test::Utils::tempdir());
Chatcrypt::Drill->new('Recovery to before a shredding', %again)->run(qr/key_event\.copy/);
is(slurp_file("$again{SAFE}/$_"), slurp_file("$variables{SAFE}/$_"),
	"a recovery to the end of the archive has the same history: $_") foreach qw(key_event.copy event_seal.copy);
$latest->stop;

$drill->run(qr/recovery_target_time/);
$new->_update_pid(1);
is(readable($new, 1 .. 12, 21, 22, 31), '1 2 3 4 5 6 7 8 9 10 11 21 22 31',
	'recovery: messages of chats that were shredded since the target time can be read');
$drill->run(qr/old_event FROM/);
is($drill->run(qr/ROLLBACK/), "in no seal|f|1|\nno such chat|f|1|\nshredded|f|4|6\nshredded|t|1|0\nshredded before|f|2|",
	'recovery: the preview shows what would be done');
is(readable($new, 1 .. 12, 21, 22, 31), '1 2 3 4 5 6 7 8 9 10 11 21 22 31',
	'recovery: the preview changes nothing');
like($drill->run(qr/CREATE TABLE recovery.reapplied/), qr/\|in no seal\|$/,
	'recovery: events that no seal covers are listed');
is(readable($new, 1 .. 12, 21, 22, 31), '3 4 5 6 7 8 9 10 11 31', 'recovery: sealed shreddings are applied again');
$drill->run(qr/INSERT INTO recovery.reapplied/);
is(readable($new, 1 .. 12, 21, 22, 31), '4 5 6 7 8 9 10 11 31',
	'recovery: shreddings that no seal covers are applied when they are trusted');
like($drill->run(qr/delete_chat.*remove_participant/s), qr/\|bob\|t$/,
	'recovery: a removed participant is removed again');
is(ask($new, q{SELECT string_agg(participant, ' ' ORDER BY participant) FROM chatcrypt.participant}, 'app'), 'alice carol',
	'recovery: no other participant is removed');
is(ask($new, 'SELECT count(*) FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(2)', 'app'), '0',
	'recovery: the deleted chat is deleted again');
like($drill->run(qr/run_maintenance/), qr/\|leaves\|retention: none -> 1 year$/,
	'recovery: changes of policies are shown');
is($drill->run(qr/DROP SCHEMA/), '', 'recovery: no chat that was shredded again has a key');
$drill->finish;
is(ask($new, q{SELECT count(*) FROM chatcrypt.verify_events()}, 'app'), '0', 'recovery: the history verifies');
is(ask($new, q{SELECT count(*) FROM chatcrypt.key_event WHERE detail ~ '^event \d+ of \S+Z again: '}, 'app'), '6',
	'recovery: the history has an event for each that was applied again');
is(ask($new, q{SELECT chatcrypt.create_chat(100) IS NOT NULL}, 'app'), 't',
	'recovery: new chats can be made');
$new->stop;

$bao->stop;
done_testing();
