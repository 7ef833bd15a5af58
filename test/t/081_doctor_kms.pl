# What doctor() says of the KMS and its worker, and the view key_state of versions that a real KMS
# does not open any more; each finding comes, with the error in it, and goes.
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

# As one who watches, and may read no key and no message.
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
is(asked(q{SELECT string_agg(finding, ' ') FROM chatcrypt.doctor() WHERE finding LIKE 'kms%'}), '', 'a KMS that is well');

# A KMS that asks for patience.
$proxy->fault(path => 'datakey', fault => 'status', code => 429, retry_after => 6, times => 1);
fails('SELECT chatcrypt.create_chat(4)', 'a KMS that is asked too much');
comes('kms_held', qr/^warning: The KMS wants no request for \Q$uri\E before 20.*: .*429.*\.$/, 'is told with the end of the hold and the error');
$proxy->clear;
goes('kms_held', 'until the hold is over');

# A KMS that is away.
$proxy->listen('refuse');
fails('SELECT chatcrypt.create_chat(4)', 'a KMS that is away');
comes('kms_unreachable', qr/^critical: The KMS does not answer for \Q$uri\E: .*\w.*\.$/, 'is told with the error');
$proxy->listen('accept');
wait_until(20, sub { ($node->psql('postgres', 'SELECT chatcrypt.create_chat()'))[0] == 0 });
goes('kms_unreachable', 'until it answers');

# A right that is missing: told, and ended by kms_check().
my $policy = $bao->policy('chat');
my $lacking = $policy =~ s/^path "transit\/datakey\/.*\n//mgr;
$bao->cli('policy', 'write', 'chatcrypt', '-', \$lacking);
fails('SELECT chatcrypt.create_chat()', 'a right that is missing');
comes('kms_refused', qr/^critical: \Q$uri\E cannot be used: .*403.*\.$/, 'is told with the error');
is(found('kms_unreachable'), '', 'and is not taken for a KMS that is away');
$bao->cli('policy', 'write', 'chatcrypt', '-', \$policy);
$node->safe_psql('postgres', "SELECT count(*) FROM chatcrypt.kms_check('$uri')");
goes('kms_refused', 'until kms_check() finds it back');

# The certificate.  Each is met by a new connection.
sub certificate
{
	my ($name) = @_;
	$proxy->certificate($name);
	$node->restart;
	$node->psql('postgres', 'SELECT chatcrypt.create_chat()');
	return;
}
is(found('kms_certificate'), '', 'a certificate that is good for a month');
certificate('ending');
comes('kms_certificate', qr/^warning: A certificate of the KMS for \Q$uri\E ends at 20\S+ \S+\.$/, 'one that ends in two days is told');
certificate('expired');
comes('kms_certificate', qr/^critical: A certificate of the KMS for \Q$uri\E has ended at 20\S+ \S+\.$/, 'and one that has ended');
certificate('good');
goes('kms_certificate', 'until there is a new one');

# A worker that is stopped.
my $worker = asked('SELECT pid FROM chatcrypt.kms_worker');
kill 'STOP', $worker or die "cannot stop the worker: $!";
comes('kms_worker_hung', qr/^critical: The KMS worker, process $worker, has not moved since 20\S+ \S+\.$/, 'a worker that is stopped is told');
my $waits = asked('SELECT waits FROM chatcrypt.kms_waits');
asked('SELECT count(*) FROM chatcrypt.doctor()');
is(asked('SELECT waits FROM chatcrypt.kms_waits'), $waits, 'doctor() waits for no worker that does not move');
kill 'CONT', $worker;
goes('kms_worker_hung', 'until it goes on');

# Versions of the KMS key.
my $keys = asked('SELECT sum(data_keys) FROM chatcrypt.key_state');
my $versions = q{SELECT string_agg(key_version || ':' || below_minimum, ' ' ORDER BY key_version) FROM chatcrypt.key_state};
is(asked($versions), '1:0', 'all data keys are wrapped by version 1');
$bao->cli('write', '-f', 'transit/keys/chat/rotate');
$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=2', 'min_encryption_version=2');
$node->restart;
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chat(5)');
comes('kms_key_below_minimum',
	qr/^critical: \Q$uri\E does not open $keys data keys any more: version 1 wraps them, and its min_decryption_version is 2\.$/,
	'data keys below the minimum version are told');
is(asked($versions), "1:$keys 2:0", 'and counted');
$node->psql('postgres', 'SELECT chatcrypt.encrypt(1, 1, $$x$$)', stderr => \my $error);
like($error, qr/could not unwrap the data key of chat 1/, 'because they do not open');
$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=1', 'min_encryption_version=0');
$node->restart;
$node->safe_psql('postgres', 'CALL chatcrypt.rewrap()');
goes('kms_key_below_minimum', 'until they are wrapped anew');
is(asked($versions), '2:0', 'by a version that opens');

done_testing();
