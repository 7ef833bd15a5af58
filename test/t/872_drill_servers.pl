# The drills of docs/operations.md about servers: a standby is promoted, a cluster is cloned,
# PostgreSQL and the extension are upgraded.
use strict;
use warnings;
use Chatcrypt::Drill;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until write_secret);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $bao = Chatcrypt::OpenBao->start_or_skip;
my %service = Chatcrypt::Drill::key_service($bao);
my $primary = Chatcrypt::Test->start('primary', bao => $bao, streaming => 1, conf => $bao->approle_settings . "log_statement = none\n");
my $accessor = $bao->cli('write', '-field=secret_id_accessor', 'auth/approle/role/chatcrypt/secret-id/lookup', 'secret_id=' . slurp_file($bao->secret_id_file));

sub readable
{
	my ($node, @chats) = @_;
	return join ' ', grep { ask($node, read_chat($_)) eq "body $_" } @chats;
}

make_chats($primary, 1, 6);
$primary->safe_psql('postgres', 'SELECT chatcrypt.seal_events()');

# ---------- a standby is promoted ----------

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
my $own = PostgreSQL::Test::Utils::tempdir() . '/secret_id';
write_secret($own, $bao->new_secret_id);
$standby->append_conf('postgresql.conf', "chatcrypt.vault_secret_id_file = '$own'\nchatcrypt.maintenance_databases = postgres\nchatcrypt.maintenance_interval = 1h\n");
$standby->start;
$primary->wait_for_catchup($standby);

my $drill = Chatcrypt::Drill->new('A standby is promoted', Chatcrypt::Drill::cluster(OLD => $primary), Chatcrypt::Drill::cluster(NEW => $standby),
	%service, DB => 'postgres', OLD_ACCESSOR => $accessor);
my $steps = $drill->run(qr/kms_check/);
like($steps, qr/unwrap\|t.*\npostgres$/s,
	'promotion: the standby has a login of its own, and will be maintained');
unlike($steps, qr/\|f\|/, 'promotion: no step of kms_check() fails on the standby');
$drill->run(qr/chatcrypt\.warm/);
$bao->seal;
is(readable($standby, 1 .. 6), '1 2 3 4 5 6',
	'promotion: a warmed standby reads every chat without the key service');
$drill->run(qr/-m fast stop/);
$primary->_update_pid(0);
$drill->run(qr/promote/);
is(readable($standby, 1 .. 6), '1 2 3 4 5 6',
	'promotion: every chat is read after promotion without the key service');
$bao->unseal;
ok(wait_until(20, sub { ask($standby, q{SELECT bool_and(ok) FROM chatcrypt.kms_check('vault:transit/chat')}) eq 't' }),
	'promotion: the key service is back');
is($drill->run(qr/pg_is_in_recovery/), 'f',
	'promotion: the standby is a primary, and no finding is critical');
$drill->run(qr/OLD_ACCESSOR/);
$drill->finish;
make_chats($standby, 7, 8);
is(readable($standby, 1 .. 8), '1 2 3 4 5 6 7 8', 'promotion: new chats can be made and read');
$primary->start;
is(readable($primary, 1), '',
	'promotion: the old primary has no access to the key service any more');
$primary->stop;

# ---------- a cluster is cloned ----------

my $clone = PostgreSQL::Test::Cluster->new('clone');
my %clone = (Chatcrypt::Drill::cluster(OLD => $standby), Chatcrypt::Drill::cluster(NEW => $clone), %service, DB => 'postgres',
	SAFE => PostgreSQL::Test::Utils::tempdir());
$drill = Chatcrypt::Drill->new('A cluster is cloned', %clone);
$drill->run(qr/pg_basebackup/);
$clone->append_conf('postgresql.conf', 'port = ' . $clone->port . "\nunix_socket_directories = '" . $clone->host . "'\n");
$drill->run(qr/vault_secret_id_file = ''/);
$clone->_update_pid(1);
is($drill->run(qr/verify_keys/), 'not checked|8', 'clone: no data key opens without a login');
is(readable($clone, 1 .. 8), '', 'clone: no message is read without a login');
$drill->run(qr/role_id_file/);
ok(wait_until(20, sub { readable($clone, 1 .. 8) eq '1 2 3 4 5 6 7 8' }),
	'clone: every message is read with a login of its own');
$standby->safe_psql('postgres', q{SELECT chatcrypt.shred_chat(1, 'irreversible'); SELECT chatcrypt.seal_events()});
is(readable($standby, 1) . readable($clone, 1), '1',
	'clone: a chat that is shredded in the original is still read in the clone');
my $again = Chatcrypt::Drill->new('Recovery to before a shredding', %clone);
$again->run_later($_) foreach qr/key_event\.copy/, qr/old_event FROM/, qr/CREATE TABLE recovery.reapplied/;
is(readable($clone, 1 .. 8), '2 3 4 5 6 7 8',
	'clone: the chat is gone when the shredding is applied in the clone');
is(ask($standby, 'SELECT count(*) FROM chatcrypt.verify_events()') . ask($clone, 'SELECT chatcrypt.seal_events() > 0; SELECT count(*) FROM chatcrypt.verify_events()'),
	"0t\n0", 'clone: both histories go on separately, and both verify');
my @blocks = @{ $drill->{blocks} };
$drill->refuse(qr/VACUUM FULL/, qr/it may be the original/);
$drill->finish;
$drill->{blocks} = \@blocks;
$clone->safe_psql('postgres', "ALTER SYSTEM SET $_ = ''") foreach qw(chatcrypt.vault_role_id_file chatcrypt.vault_secret_id_file);
$clone->restart;
like($drill->run(qr/VACUUM FULL/), qr/\n0$/, 'clone: the keys of the clone can be destroyed');
is(readable($standby, 2 .. 8), '2 3 4 5 6 7 8', 'clone: the original is not affected');
$clone->stop;

# ---------- upgrades ----------

$drill = Chatcrypt::Drill->new('Upgrade of the extension', Chatcrypt::Drill::cluster(OLD => $standby), DB => 'postgres');
like($drill->run(qr/ALTER EXTENSION/), qr/^NOTICE:  version "[\d.]+" of extension "chatcrypt" is already installed$/,
	'upgrade: there is nothing to update where there is only one version');
is($drill->run(qr/default_version/), '', 'upgrade: no finding is critical after ALTER EXTENSION');
$drill->finish;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$new->append_conf('postgresql.conf', "log_statement = none\n");
my $bin = $standby->config_data('--bindir');
$drill = Chatcrypt::Drill->new('Upgrade of PostgreSQL', Chatcrypt::Drill::cluster(OLD => $standby), Chatcrypt::Drill::cluster(NEW => $new),
	DB => 'postgres', OLDBIN => $bin, NEWBIN => $bin, WORK => PostgreSQL::Test::Utils::tempdir_short(), PGPORTOLD => $standby->port, PGPORTNEW => $new->port);
$drill->run(qr/shared_preload_libraries/);
$drill->run(qr/pg_upgrade/);
$standby->_update_pid(0);
$drill->run(qr/diff/);
$new->_update_pid(1);
is($drill->run(qr/verify_keys/), '',
	'upgrade: all keys open, the history is whole, and no finding is critical');
$drill->finish;
is(readable($new, 1 .. 8), '2 3 4 5 6 7 8', 'upgrade: every message is read by the new PostgreSQL');

$new->stop;
$bao->stop;
done_testing();
