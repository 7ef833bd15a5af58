# What doctor() says of the KMS and its worker, and what the view key_state says of versions that a
# real KMS does not open any more.  Each finding appears, with its error, and goes away.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::OpenBao;
use Chatcrypt::Test qw(wait_until);
use Test::More;

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('doctor_kms', bao => $bao, proxy => $proxy, conf => "chatcrypt.kms_timeout = '2s'\n");
my $uri = $bao->kms_key;

# A role that monitors, and may read no key and no message.
$node->safe_psql('postgres', 'CREATE ROLE watcher LOGIN IN ROLE chatcrypt_auditor');

sub asked
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql, extra_params => [ '-U', 'watcher' ]);
}

sub found
{
	my ($finding) = @_;
	return asked("SELECT severity || ': ' || what FROM chatcrypt.doctor() WHERE finding = '$finding'");
}

sub comes
{
	my ($finding, $wanted, $name) = @_;
	my $is;
	wait_until(15, sub { ($is = found($finding)) =~ $wanted });
	like($is, $wanted, $name);
	return;
}

sub goes
{
	my ($finding, $name) = @_;
	my $is;
	wait_until(30, sub { ($is = found($finding)) eq '' });
	is($is, '', $name);
	return;
}

sub fails
{
	my ($sql, $name) = @_;
	isnt(($node->psql('postgres', $sql))[0], 0, $name);
	return;
}

$node->safe_psql('postgres', 'SELECT chatcrypt.create_chats(ARRAY[1, 2, 3])');
is(asked(q{SELECT string_agg(finding, ' ') FROM chatcrypt.doctor() WHERE finding LIKE 'kms%'}), '',
	'doctor() has no finding about a KMS that is well');

# A KMS that asks for patience.
$proxy->fault(path => 'datakey', fault => 'status', code => 429, retry_after => 6, times => 1);
fails('SELECT chatcrypt.create_chat(4)', 'create_chat() fails while the KMS answers 429');
comes('kms_held', qr/^warning: The KMS wants no request for \Q$uri\E before 20.*: .*429.*\.$/,
	'kms_held: the finding shows the end of the hold and the error');
$proxy->clear;
goes('kms_held', 'kms_held: the finding goes when the hold is over');

# A KMS that is away.
$proxy->listen('refuse');
fails('SELECT chatcrypt.create_chat(4)', 'create_chat() fails while the KMS is away');
comes('kms_unreachable', qr/^critical: The KMS does not answer for \Q$uri\E: .*\w.*\.$/,
	'kms_unreachable: the finding shows the error');
$proxy->listen('accept');
wait_until(20, sub { ($node->psql('postgres', 'SELECT chatcrypt.create_chat()'))[0] == 0 });
goes('kms_unreachable', 'kms_unreachable: the finding goes when the KMS answers');

# A right that is missing: told, and ended by kms_check().
my $policy = $bao->policy('chat');
my $lacking = $policy =~ s/^path "transit\/datakey\/.*\n//mgr;
$bao->cli('policy', 'write', 'chatcrypt', '-', \$lacking);
fails('SELECT chatcrypt.create_chat()', 'create_chat() fails where the policy lacks a right');
comes('kms_refused', qr/^critical: \Q$uri\E cannot be used: .*403.*\.$/,
	'kms_refused: the finding shows the error');
is(found('kms_unreachable'), '', 'a missing right is not taken for a KMS that is away');
$bao->cli('policy', 'write', 'chatcrypt', '-', \$policy);
$node->safe_psql('postgres', "SELECT count(*) FROM chatcrypt.kms_check('$uri')");
goes('kms_refused', 'kms_refused: the finding goes when kms_check() succeeds');

# The certificate.  A new connection meets each one.
sub certificate
{
	my ($name) = @_;
	$proxy->certificate($name);
	$node->restart;
	$node->psql('postgres', 'SELECT chatcrypt.create_chat()');
	return;
}
is(found('kms_certificate'), '',
	'kms_certificate: no finding for a certificate that is good for a month');
certificate('ending');
comes('kms_certificate', qr/^warning: A certificate of the KMS for \Q$uri\E ends at 20\S+ \S+\.$/,
	'kms_certificate: a certificate that ends in two days is told');
certificate('expired');
comes('kms_certificate', qr/^critical: A certificate of the KMS for \Q$uri\E has ended at 20\S+ \S+\.$/,
	'kms_certificate: a certificate that has ended is told');
certificate('good');
goes('kms_certificate', 'kms_certificate: the finding goes with a new certificate');

# A worker that is stopped.
my $worker = asked('SELECT pid FROM chatcrypt.kms_worker');
kill 'STOP', $worker or die "cannot stop the worker: $!";
comes('kms_worker_hung', qr/^critical: The KMS worker, process $worker, has not moved since 20\S+ \S+\.$/,
	'kms_worker_hung: a worker that is stopped is told');
my $waits = asked('SELECT waits FROM chatcrypt.kms_waits');
asked('SELECT count(*) FROM chatcrypt.doctor()');
is(asked('SELECT waits FROM chatcrypt.kms_waits'), $waits,
	'doctor() does not wait for a worker that does not move');
kill 'CONT', $worker;
goes('kms_worker_hung', 'kms_worker_hung: the finding goes when the worker goes on');

# Versions of the KMS key.
my $keys = asked('SELECT sum(data_keys) FROM chatcrypt.key_state');
my $versions = q{SELECT string_agg(key_version || ':' || below_minimum, ' ' ORDER BY key_version) FROM chatcrypt.key_state};
is(asked($versions), '1:0', 'key_state: version 1 wraps all data keys');
$bao->cli('write', '-f', 'transit/keys/chat/rotate');
$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=2', 'min_encryption_version=2');
$node->restart;
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chat(5)');
comes('kms_key_below_minimum',
	qr/^critical: \Q$uri\E does not open $keys data keys any more: version 1 wraps them, and its min_decryption_version is 2\.$/,
	'kms_key_below_minimum: data keys below the minimum version are told');
is(asked($versions), "1:$keys 2:0", 'key_state: data keys below the minimum version are counted');
$node->psql('postgres', 'SELECT chatcrypt.encrypt(1, 1, $$x$$)', stderr => \my $error);
like($error, qr/could not unwrap the data key of chat 1/,
	'a data key below the minimum version does not open');
$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=1', 'min_encryption_version=0');
$node->restart;
$node->safe_psql('postgres', 'CALL chatcrypt.rewrap()');
goes('kms_key_below_minimum',
	'kms_key_below_minimum: the finding goes when the data keys are rewrapped');
is(asked($versions), '2:0', 'key_state: rewrapped data keys are under a version that opens');

done_testing();
