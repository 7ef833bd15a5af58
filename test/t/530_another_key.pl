# A key URI can come to name another key: a new key file on the machine that a backup was restored
# on, or a key that was deleted and made again at the key service.  Whatever such a key wraps is
# lost when the right one comes back, so nothing new is wrapped by it.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of make_key wait_until write_secret);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('another', streaming => 1);
my $keys = keys_of($node);
my $right_key = slurp_file("$keys/main.key");
my $another = qr/^55000 could not \S+ the data key of chat .* DETAIL: The key that "local:main" names now does not open what "local:main" wrapped before: it is another one\. .* HINT: Bring back the key that was in use/;

sub deks { return $node->safe_psql('postgres', 'SELECT count(*) FROM chatcrypt.dek'); }
sub items { return status($node, 'items', 'local:main') || 0; }

sub changed
{
	my ($of) = @_;
	return ($of // $node)->safe_psql('postgres',
		q{SELECT string_agg(severity || ': ' || what, '') FROM chatcrypt.doctor() WHERE finding = 'kms_key_changed'});
}

make_chats($node, 1, 20);
$node->safe_psql('postgres', q{
	CREATE ROLE app LOGIN; GRANT chatcrypt_writer TO app;
	SELECT chatcrypt.create_tenant('moving', 'local:moving')});
make_key($keys, 'moving');
make_chats($node, 101, 103, 'moving');
is(changed(), '', 'the right key is no finding of doctor()');

# The key file is replaced while the server runs.
make_key($keys, 'main');
my $before = deks();
like(failure($node, 'SELECT chatcrypt.create_chat()'), $another, 'another key file under the same name: no chat is made');
like(failure($node, 'SET ROLE app; SELECT chatcrypt.create_chat()'), $another, 'another key file: no chat is made by an application');
unlike(failure($node, 'SET ROLE app; SELECT chatcrypt.create_chat()'), qr/\Q$keys\E/, 'the error does not show where the key files are');
like(failure($node, 'SELECT chatcrypt.create_chats(ARRAY[30, 31])'), $another, 'another key file: no chats are made');
like(failure($node, 'SELECT chatcrypt.rotate_chat(1)'), $another, 'another key file: no chat gets a new key');
like(failure($node, q{SELECT chatcrypt.import_dek(1, decode(repeat('d7', 32), 'hex'), 9)}), $another, 'another key file: no key is imported');
my (undef, undef, $warnings) = $node->psql('postgres', q{CALL chatcrypt.move_kms_key('local:moving', 'local:main')});
like($warnings, qr/ERROR:  no key was moved/, 'another key file: no key is moved to it');
like($warnings, qr/does not open what "local:main" wrapped before/, 'another key file: move_kms_key() says why');
$node->safe_psql('postgres', q{UPDATE chatcrypt.tenant SET rotate_after = '1 microsecond' WHERE tenant = 'default'});
(undef, my $rotated, $warnings) = $node->psql('postgres', 'CALL chatcrypt.rotate_due()');
is($rotated, '0|20', 'another key file: rotate_due() makes no key');
is(scalar(() = $warnings =~ /it is another one/g), 1, 'another key file: rotate_due() says so once');
$node->safe_psql('postgres', q{UPDATE chatcrypt.tenant SET rotate_after = NULL WHERE tenant = 'default'});
is(deks(), $before, 'another key file: no data key was written');
is(changed(), 'critical: local:main does not open data keys that it wrapped.', 'another key file: doctor() says critical');
is(failure($node, q{SELECT chatcrypt.create_chat(tenant => 'moving')}), '', 'another key file: tenants with another key are not affected');
is(count_read($node, 1 .. 20), '20', 'another key file: warm chats are read');

# A restart does not change this, and a new database has nothing to compare with.
make_cold($node);
like(failure($node, 'SELECT chatcrypt.create_chat()'), $another, 'another key file: no chat is made after a restart');
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
is($node->safe_psql('fresh', 'CREATE EXTENSION chatcrypt; SELECT count(chatcrypt.create_chat())'), '1',
	'another key file: a database without data keys has nothing to compare with');

# The result of a comparison does not outlive a database that another one is restored into.
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->safe_psql('restored', 'CREATE EXTENSION chatcrypt');
is($node->safe_psql('restored', 'SELECT count(chatcrypt.create_chat())'), '1',
	'a database of its own: a chat is made') for 1 .. 2;
$node->safe_psql('restored', 'SET chatcrypt.allow_drop = on; DROP EXTENSION chatcrypt; DROP SCHEMA chatcrypt');
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '--no-sync', '--file', $dump, '-d', $node->connstr('postgres') ], 'the other database is dumped');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ],
	'the dump is restored into the database of its own');
my (undef, undef, $restored_error) = $node->psql('restored', 'SELECT chatcrypt.create_chat()');
like($restored_error, qr/it is another one/, 'the key that wrapped keys of the database before is another one for those that were restored');

# The right file comes back.
write_secret("$keys/main.key", $right_key);
is(failure($node, 'SELECT chatcrypt.create_chat(40)'), '', 'the right key file: chats are made again at once');
is(count_read($node, 1 .. 20), '20', 'the right key file: every chat is read');
is(changed(), '', 'the right key file: doctor() finds nothing');
(undef, undef, my $error) = $node->psql('fresh', 'SELECT chatcrypt.create_chat()');
like($error, qr/it is another one/, 'the right key file: each database is compared by itself');

# The cost: a comparison at the first new key, and none after that.
make_cold($node);
my $items = items();
ask($node, 'SELECT chatcrypt.create_chat()');
is(items() - $items, 3, 'the first chat after a restart unwraps two keys: its own and one that was there');
$items = items();
ask($node, 'SELECT chatcrypt.create_chat()');
is(items() - $items, 1, 'the second chat unwraps no key');
$items = items();
ask($node, 'SELECT count(*) FROM chatcrypt.create_chats(ARRAY(SELECT generate_series(1000::bigint, 3999)))');
is(items() - $items, 3000, '3,000 chats in one call unwrap no key');
set($node);
$items = items();
ask($node, 'SELECT chatcrypt.create_chat()');
is(items() - $items, 3, 'the next chat after a reload is compared again');
make_cold($node);
$items = items();
ask($node, 'SELECT count(*) FROM chatcrypt.create_chats(ARRAY(SELECT generate_series(4000::bigint, 6999)))');
is(items() - $items, 3002, '3,000 chats after a restart unwrap two keys');

# One row that is damaged is no sign of another key, and neither are two.
my $damage = q{UPDATE chatcrypt.dek SET encrypted_dek = set_byte(encrypted_dek, 40, get_byte(encrypted_dek, 40) # 1)
	WHERE dek_id IN (SELECT dek_id FROM chatcrypt.dek WHERE kms_key = 'local:main' ORDER BY dek_id DESC LIMIT 2)};
$node->safe_psql('postgres', $damage);
make_cold($node);
is(failure($node, 'SELECT chatcrypt.create_chat()'), '', 'the newest two data keys are damaged, and the third opens: chats are made');
is(changed(), '', 'two damaged data keys: doctor() does not report another key');

# Versions: the version that wraps now is the one to compare.
my $second_key = slurp_file(make_key($keys, 'main.2'));
is(failure($node, 'SELECT chatcrypt.create_chat(41)'), '', 'a new version of the key is accepted');
make_key($keys, 'main.2');
like(failure($node, 'SELECT chatcrypt.create_chat()'), $another, 'another file of the newest version is refused, though older ones are right');
make_cold($node);
like(failure($node, 'SELECT chatcrypt.create_chat()'), $another,
	'another file of the newest version is refused after a restart as well');
write_secret("$keys/main.2.key", $second_key);
is(failure($node, 'SELECT chatcrypt.create_chats(ARRAY[42, 43, 44])'), '',
	'the right file of the newest version is accepted');
unlink "$keys/main.2.key" or die $!;
make_key($keys, 'main');
like(failure($node, 'SELECT chatcrypt.create_chat()'), $another, 'a first version is refused where a second one wrapped data keys');
write_secret("$keys/main.key", $right_key);
write_secret("$keys/main.2.key", $second_key);
is(failure($node, 'SELECT chatcrypt.create_chat(45)'), '',
	'the right files of both versions are accepted');

# A standby makes no keys; its doctor() looks at its own files.
$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
my $other_keys = PostgreSQL::Test::Utils::tempdir();
chmod 0700, $other_keys or die $!;
make_key($other_keys, $_) foreach 'main', 'main.2', 'moving';
$standby->append_conf('postgresql.conf', "chatcrypt.local_key_dir = '$other_keys'\n");
$standby->start;
$node->wait_for_catchup($standby);
like(changed($standby), qr/critical: local:main does not open.*critical: local:moving does not open/, 'a standby with other key files: doctor() says critical there');
$standby->promote;
(undef, undef, $error) = $standby->psql('postgres', 'SELECT chatcrypt.create_chat()');
like($error, qr/it is another one/, 'a standby with other key files makes no keys when it is promoted');
$standby->stop;
$node->stop;

# The same at a key service, where the key was deleted and made again while the server ran.
SKIP:
{
	skip('neither BAO nor PATH has an OpenBao or Vault', 1) unless defined Chatcrypt::OpenBao::program() || ($ENV{CI} // '') eq 'true';
	my $bao = Chatcrypt::OpenBao->start;
	my $proxy = Chatcrypt::FaultProxy->start($bao);
	my $vault = Chatcrypt::Test->start('vault', bao => $bao, proxy => $proxy, conf => "chatcrypt.kms_timeout = '2s'\n");
	my $create = 'SELECT chatcrypt.create_chat()';
	my $refused = qr/^55000 could not make .* DETAIL: The key that "vault:transit\/chat" names now does not open/;

	make_chats($vault, 1, 20);

	# No sign of another key: a missing right to unwrap, and a version below the minimum.
	my $policy = $bao->policy('chat') =~ s/^.*decrypt.*$//mr;
	$bao->cli('policy', 'write', 'chatcrypt', '-', \$policy);
	make_cold($vault);
	is(failure($vault, $create), '', 'a login that may not unwrap: a chat is made');
	like(failure($vault, read_chat(1)), qr/^28000 /,
		'a login that may not unwrap: no cold chat is read');
	$bao->set_policy('chat');
	$bao->cli('write', '-f', 'transit/keys/chat/rotate');
	$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=2');
	make_cold($vault);
	like(failure($vault, read_chat(1)), qr/too old/,
		'data keys of a version below the minimum: no chat is read');
	is(failure($vault, $create), '', 'data keys of a version below the minimum: a chat is made');
	$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=1');
	set($vault);
	is(ask($vault, read_chat(1)), 'body 1', 'a chat is read after the minimum version was lowered');

	# An outage: the key of the KMS that answers after it is compared.
	ask($vault, $create);
	$proxy->reset;
	is(failure($vault, $create), '', 'a chat is made before the outage');
	is($proxy->requests('decrypt'), 0, 'a chat is made before the outage without a comparison');
	$proxy->listen('refuse');
	like(failure($vault, $create), qr/^58030 /, 'an outage: no chat is made') for 1 .. 4;
	is(status($vault, 'breaker'), 'open', 'an outage: the breaker is open');
	$proxy->listen('accept');
	ok(wait_until(20, sub { failure($vault, $create) eq '' }),
		'the end of the outage: a chat is made');
	is($proxy->requests('decrypt'), 1, 'the end of the outage: one request compares the key');
	is($proxy->items('decrypt'), 2,
		'the end of the outage: the new data key and one that was there are unwrapped');

	# Another key of the same name.
	$bao->cli('write', 'transit/keys/chat/config', 'deletion_allowed=true');
	$bao->cli('delete', 'transit/keys/chat');
	$bao->cli('write', '-f', 'transit/keys/chat', 'derived=true');
	like(failure($vault, read_chat(2)), qr/^55000 .*message authentication failed/, 'a key that was deleted and made again does not open');
	like(failure($vault, $create), $refused,
		'a key that was deleted and made again is refused at the first data key that it does not open');
	is(changed($vault), 'critical: vault:transit/chat does not open data keys that it wrapped.', 'doctor() says critical');
	make_cold($vault);
	like(failure($vault, $create), $refused,
		'a key that was deleted and made again is refused after a restart, at the first data key to wrap');
	$vault->stop;
}

done_testing();
