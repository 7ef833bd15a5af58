# doctor(): findings that settings of the server, pg_hba.conf, limits and files cause, and how they
# end.  Findings that a session can cause are in sql/08_doctor.sql.
use strict;
use warnings;
use Chatcrypt::Test qw(keys_of make_key wait_until write_secret);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The limits that the servers below inherit; only the soft ones, which can be raised again.
sub limit
{
	my ($what, $value) = @_;
	system('prlimit', "--pid=$$", "--$what=$value:") == 0 or die "prlimit --$what: $?";
	return;
}

my $node;

# What doctor() says of a finding.
sub found
{
	my ($finding, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		"SELECT severity || ': ' || what FROM chatcrypt.doctor() WHERE finding = '$finding'");
}

# A reload reaches new sessions a moment later.
sub becomes
{
	my ($finding, $wanted, $name) = @_;
	my $is;
	wait_until(10, sub { ($is = found($finding)) eq $wanted });
	is($is, $wanted, $name);
	return;
}

# Sets a value, checks the finding, and resets the value.
sub tells
{
	my ($finding, $setting, $value, $wanted) = @_;
	$node->append_conf('postgresql.conf', "$setting = '$value'\n");
	$node->reload;
	becomes($finding, $wanted, "doctor() tells of $setting = $value");
	$node->adjust_conf('postgresql.conf', $setting, undef);
	$node->reload;
	becomes($finding, '', "doctor() tells nothing of $setting after it is reset");
	return;
}

limit(core => 0);
limit(memlock => 0);
$node = Chatcrypt::Test->start('doctor', conf => <<"CONF");
shared_preload_libraries = 'chatcrypt,pg_stat_statements'
chatcrypt.cache_size = 128
log_min_error_statement = panic
CONF

# Limits.  Where the kernel hands cores to a program, the limit alone does not end the finding.
my $piped = slurp_file('/proc/sys/kernel/core_pattern') =~ /^\|/;
is(found('core_dumps'),
	$piped ? 'warning: The limit for core dumps is 0, but the kernel hands them to a program.' : '',
	'core_dumps: a core limit of 0');
is(found('keys_not_locked'), 'warning: The key cache is not locked in memory.',
	'keys_not_locked: a memory lock limit of 0');
chomp(my $most = `prlimit --pid=$$ --core --noheadings --raw --output=HARD`);
limit(core => 4096) if $most ne '0';
limit(memlock => 1 << 16);
$node->restart;
SKIP:
{
	skip 'core dumps are forbidden here for good', 1 if $most eq '0';
	is(found('core_dumps'), 'warning: The server may write core dumps.',
		'core_dumps: a core limit of 4096');
}
# The worker locks the key cache once it runs.
becomes('keys_not_locked', '', 'keys_not_locked: no finding with a memory lock limit of 64 kB');
limit(core => 0);

# The worker: killed, and started again by the postmaster a second later.
is(found('kms_worker'), '', 'kms_worker: no finding while the KMS worker runs');
my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
my ($worker) = map { /^\s*(\d+)/ } grep { /chatcrypt KMS worker/ } split /\n/, `ps -o pid=,args= --ppid $postmaster`;
kill 'TERM', $worker or die "no KMS worker among the children of $postmaster";
becomes('kms_worker', 'critical: The KMS worker is not running.',
	'kms_worker: a worker that was terminated is missed');
becomes('kms_worker', '', 'kms_worker: no finding after the worker was started again');

# Key files beside the data: any other volume that this user can write to will do.
my $here = (stat $node->data_dir)[0];
is(found('local_keys_on_data_volume'),
	(stat keys_of($node))[0] == $here
	? 'warning: chatcrypt.local_key_dir lies on the volume of the data directory.' : '',
	'local_keys_on_data_volume: key files in a temporary folder of the test');
my ($elsewhere) = grep { -d && -w && (stat)[0] != $here } '/dev/shm', '/run/lock', '/tmp', '/var/tmp';
ok(defined $elsewhere, 'there is another volume') or BAIL_OUT('no second volume to test with');
my $folder = File::Temp::tempdir(DIR => $elsewhere, CLEANUP => 1);
chmod 0700, $folder or die "$folder: $!";
make_key($folder, 'main');
$node->append_conf('postgresql.conf', "chatcrypt.local_key_dir = '$folder'\n");
$node->reload;
becomes('local_keys_on_data_volume', '',
	'local_keys_on_data_volume: no finding with key files on another volume');
mkdir $node->basedir . '/keys', 0700 or die "mkdir: $!";
$node->append_conf('postgresql.conf', "chatcrypt.local_key_dir = '" . $node->basedir . "/keys'\n");
$node->reload;
becomes('local_keys_on_data_volume', 'warning: chatcrypt.local_key_dir lies on the volume of the data directory.',
	'local_keys_on_data_volume: key files on the volume of the data again');
$node->append_conf('postgresql.conf', "chatcrypt.local_key_dir = '" . keys_of($node) . "'\n");
$node->reload;

# Settings that only the server's files have.
tells('allow_http', 'chatcrypt.allow_http', 'on', 'critical: chatcrypt.allow_http is on on this server.');
tells('vault_allow_underived', 'chatcrypt.vault_allow_underived', 'true',
	'warning: chatcrypt.vault_allow_underived is on on this server.');
# From 19 on, log_min_messages may name a level for some types of process.
if ($node->pg_version >= '19devel')
{
	tells('debug_print', 'debug_print_raw_parse', 'on', 'critical: debug_print_raw_parse is on on this server.');
	tells('log_min_messages', 'log_min_messages', 'warning, backend:fatal',
		'warning: log_min_messages is warning, backend:fatal on this server.');
	tells('log_min_messages', 'log_min_messages', 'panic, checkpointer:error',
		'warning: log_min_messages is panic, checkpointer:error on this server.');
	$node->append_conf('postgresql.conf', "log_min_messages = 'fatal, backend:warning'\n");
	$node->reload;
	is(found('log_min_messages'), '',
		'log_min_messages: a level of processes other than backends is no finding');
	$node->adjust_conf('postgresql.conf', 'log_min_messages', undef);
	$node->reload;
}
tells('log_statement', 'log_statement', 'ddl',
	'critical: log_statement is ddl on this server, and parameters are logged too.');
is(found('pg_stat_statements'), 'warning: pg_stat_statements.track_utility is on on this server.',
	'pg_stat_statements: its default settings are a finding');
$node->append_conf('postgresql.conf', "pg_stat_statements.track_utility = off\n");
$node->reload;
becomes('pg_stat_statements', '', 'pg_stat_statements: no finding without utility statements');
is(found('log_min_error_statement'), '', 'log_min_error_statement: no finding at panic');

# auto_explain in every session, and in none.
$node->append_conf('postgresql.conf', "session_preload_libraries = 'auto_explain'\n");
tells('auto_explain', 'auto_explain.log_min_duration', '5s',
	'critical: auto_explain.log_min_duration is 5000 on this server.');

# The role that asks may have values of its own; they do not hide what other roles get.
$node->safe_psql('postgres', q(ALTER ROLE postgres SET log_statement = 'none';
	ALTER ROLE postgres SET log_min_error_statement = 'panic'));
tells('log_statement', 'log_statement', 'all',
	'critical: log_statement is all on this server, and parameters are logged too.');
$node->append_conf('postgresql.conf', "log_min_error_statement = fatal\n");
$node->reload;
becomes('log_min_error_statement', 'warning: log_min_error_statement is fatal on this server.',
	'log_min_error_statement: the last value in the files counts, not that of the role');
$node->append_conf('postgresql.conf', "log_min_error_statement = panic\n");
$node->reload;
becomes('log_min_error_statement', '',
	'log_min_error_statement: a later value in the files ends the finding');
$node->safe_psql('postgres', 'ALTER ROLE postgres RESET ALL');

# Keys of the provider local, as the default and left behind by it.
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chats(ARRAY[1, 2])');
is(found('local_kms_key'), 'warning: chatcrypt.default_kms_key is local:main on this server.',
	'local_kms_key: a local key as the default');
is(found('local_wrapped_deks'), '',
	'local_wrapped_deks: no finding while the local key is the default');
$node->append_conf('postgresql.conf', "chatcrypt.default_kms_key = 'vault:transit/chat'\n");
$node->reload;
becomes('local_kms_key', '', 'local_kms_key: no finding with another default');
is(found('local_wrapped_deks'), 'warning: local:main still wraps 2 data keys, and is not the default any more.',
	'local_wrapped_deks: data keys that the former default still wraps');
$node->safe_psql('postgres', "SELECT chatcrypt.shred_chat(chat_id, 'irreversible') FROM chatcrypt.chat");
is(found('local_wrapped_deks'), '',
	'local_wrapped_deks: no finding after those data keys are gone');

# A KMS that is not there: nothing listens on port 9.
write_secret($node->basedir . '/token', 'none');
$node->append_conf('postgresql.conf', <<"CONF");
chatcrypt.vault_addr = 'https://127.0.0.1:9'
chatcrypt.vault_token_file = '@{[ $node->basedir ]}/token'
chatcrypt.kms_timeout = '300ms'
CONF
$node->reload;
is(found('kms_unreachable'), '', 'kms_unreachable: no finding before Vault was asked');
my ($status) = $node->psql('postgres', 'SELECT chatcrypt.create_chat(3)');
isnt($status, 0, 'a chat cannot be made without a KMS');
my $unreachable;
wait_until(10, sub { ($unreachable = found('kms_unreachable')) ne '' });
like($unreachable, qr/^critical: The KMS does not answer for vault:transit\/chat: .*127\.0\.0\.1.*\.$/,
	'kms_unreachable: the finding shows the error of the KMS');
$node->restart;
is(found('kms_unreachable'), '',
	'kms_unreachable: no finding after a restart, since Vault was not asked yet');

# The network.  doctor() reads pg_hba.conf as it will be after the next reload; there is none
# here, and the server listens on loopback addresses alone, so that nothing is opened.
sub hba
{
	my (@lines) = @_;
	unlink $node->data_dir . '/pg_hba.conf';
	$node->append_conf('pg_hba.conf', join("\n", 'local all all trust', @lines) . "\n");
	return found('unencrypted_connections');
}

sub plain_lines
{
	my ($lines) = @_;
	return "warning: pg_hba.conf: line $lines takes clients without TLS from elsewhere, and chatcrypt.require_tls is off.";
}

is(hba('host all all all scram-sha-256'), '',
	'unencrypted_connections: no finding on a server that listens on no network');
is(found('ssl'), '', 'ssl: no finding on a server that listens on no network');
$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1, 127.0.0.2'\n");
$node->restart;
is(found('ssl'), 'warning: ssl is off, and the server listens on the network.',
	'ssl: a server that listens on a network without TLS');
my @certificate = map { $node->data_dir . "/$_" } 'server.key', 'server.crt';
run_log([ 'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=doctor', '-days', '2',
	'-keyout', $certificate[0], '-out', $certificate[1] ]) or die 'no certificate';
chmod 0600, $certificate[0] or die "$certificate[0]: $!";
$node->append_conf('postgresql.conf', "ssl = on\n");
$node->reload;
becomes('ssl', '', 'ssl: no finding on a network with TLS');

is(hba('host all all all scram-sha-256'), plain_lines('2'),
	'unencrypted_connections: a host line for all addresses');
is(hba('hostssl all all all scram-sha-256'), '',
	'unencrypted_connections: no finding for a hostssl line');
is(hba('hostssl all all all scram-sha-256', 'hostnossl all all 10.0.0.0/8 md5', 'hostnogssenc all all ::/0 md5'),
	plain_lines('3, 4'), 'unencrypted_connections: hostnossl and hostnogssenc lines');
is(hba('host all all 10.0.0.0/8 reject', 'host template1 all all trust', 'host replication all all trust'), '',
	'unencrypted_connections: no finding for lines that let nobody into this database');
is(hba('host postgres all fd00::/8 md5'), plain_lines('2'),
	'unencrypted_connections: a line for this database');
is(hba('host all all 127.0.0.0/8 md5', 'host all all ::1/128 md5', 'host all all samehost md5',
	'host all all localhost md5'), '',
		'unencrypted_connections: no finding for lines for this machine');
is(hba('host all all 127.0.0.1/0 md5'), plain_lines('2'),
	'unencrypted_connections: a line for the world that looks like one for this machine');
is(hba('hostnossl all all all reject', 'host all all all md5'), '',
	'unencrypted_connections: no finding for a line behind one that refuses all without TLS');
is(hba('host all all all md5', 'hostnossl all all all reject'), plain_lines('2'),
	'unencrypted_connections: a line before the one that refuses all without TLS');
is(hba('host all all all md5', 'nonsense'), plain_lines('2'),
	'unencrypted_connections: a line beside one that cannot be parsed');
$node->append_conf('postgresql.conf', "chatcrypt.require_tls = on\n");
$node->reload;
becomes('unencrypted_connections', '', 'unencrypted_connections: no finding with require_tls');

# Exceptions from require_tls.
$node->safe_psql('postgres', 'CREATE ROLE app');
$node->safe_psql('postgres', 'ALTER ROLE app SET chatcrypt.require_tls = off');
is(found('require_tls'), 'warning: chatcrypt.require_tls is off for role app.',
	'require_tls: a role that is excepted');
$node->safe_psql('postgres', 'ALTER ROLE app RESET chatcrypt.require_tls');
is(found('require_tls'), '', 'require_tls: no finding after the exception is gone');

# An auditor may ask.
$node->safe_psql('postgres', 'CREATE ROLE auditor LOGIN IN ROLE chatcrypt_auditor');
my $answer = $node->safe_psql('postgres',
	"SET SESSION AUTHORIZATION auditor; SET default_transaction_read_only = on; SELECT string_agg(finding, ' ') FROM chatcrypt.doctor()");
like($answer, qr/\btrack_activities\b/, 'an auditor gets an answer in a transaction that only reads');

$node->stop;
done_testing();
