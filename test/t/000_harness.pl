# Tests the tools that other tests rely on: a real OpenBao, and the proxy that injects faults.
# OpenBao's own client takes the place of chatcrypt here, so that a fault that never happens is
# noticed in this file, and does not let a test of chatcrypt pass.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::OpenBao;
use Chatcrypt::Test qw(wait_until);
use MIME::Base64 qw(encode_base64);
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $context = encode_base64('c' x 32, '');
my $plaintext = encode_base64('k' x 32, '');

# (status, output, errors) of OpenBao's client through the proxy, with the token that
# chatcrypt would have.
sub client
{
	my (@arguments) = @_;
	local $ENV{BAO_MAX_RETRIES} = 0;
	local $ENV{VAULT_MAX_RETRIES} = 0;
	local $ENV{BAO_CLIENT_TIMEOUT} = 2;
	local $ENV{VAULT_CLIENT_TIMEOUT} = 2;
	no warnings 'redefine';
	local *Chatcrypt::OpenBao::address = sub { $proxy->address };
	local *Chatcrypt::OpenBao::ca_file = sub { $proxy->ca_file };
	return $bao->try_cli(@arguments);
}

sub decrypt
{
	my ($wrapped) = @_;
	return client('write', '-field=plaintext', 'transit/decrypt/chat',
		"ciphertext=$wrapped", "context=$context");
}

sub fails_with
{
	my ($pattern, $name) = @_;
	my ($status, undef, $error) = client('write', '-field=ciphertext', 'transit/encrypt/chat',
		"plaintext=$plaintext", "context=$context");
	isnt($status, 0, "$name: the client's request fails");
	like($error, $pattern, "$name: the error is the expected one");
	$proxy->clear;
	return;
}

# OpenBao itself.
my $wrapped = $bao->cli('write', '-field=ciphertext', 'transit/encrypt/chat',
	"plaintext=$plaintext", "context=$context");
like($wrapped, qr/^vault:v1:/, 'OpenBao wraps a key');
is($bao->cli('read', '-field=derived', 'transit/keys/chat'), 'true', 'the key is derived');
is($bao->cli('read', '-field=exportable', 'transit/keys/chat'), 'false',
	'the key is not exportable');
foreach my $file ($bao->token_file, $bao->role_id_file, $bao->secret_id_file)
{
	is(sprintf('%o', (stat $file)[2] & 07777), '600',
		'a credential file can be read by its owner alone');
}
my $token = slurp_file($bao->token_file);
my $capabilities = $bao->cli('token', 'capabilities', $token, 'transit/decrypt/chat');
is($capabilities, 'update', 'the policy lets chatcrypt unwrap');
is($bao->cli('token', 'capabilities', $token, 'transit/keys/chat'), 'read',
	'the policy lets chatcrypt see the key');
is($bao->cli('token', 'capabilities', $token, 'transit/keys/other'), 'deny',
	'the policy does not let chatcrypt make a key');

# The proxy passes on, and counts.
my ($status, $output, $error) = decrypt($wrapped);
is("$status $output", "0 $plaintext", 'the proxy passes a request on') or diag($error);
is($proxy->requests('decrypt'), 1, 'the proxy counts requests');
is($proxy->items('decrypt'), 1, 'the proxy counts items');
$proxy->reset;
is($proxy->requests, 0, 'a reset proxy counts from zero');
client('write', 'transit/decrypt/chat', '-',
	\qq({"batch_input":[{"ciphertext":"$wrapped","context":"$context"},{"ciphertext":"x","context":"$context"}]}));
is($proxy->requests('decrypt'), 1, 'a batch counts as one request');
is($proxy->items('decrypt'), 2, 'a batch of two counts as two items');

# Every fault, seen from the other side.
$proxy->fault(fault => 'status', code => 429, retry_after => 7, body => '{"errors":["slow down"]}');
fails_with(qr/Code: 429.*slow down/s, 'status');
$proxy->fault(fault => 'reset');
fails_with(qr/connection reset/, 'reset');
$proxy->fault(fault => 'close');
fails_with(qr/EOF/, 'close');
$proxy->fault(fault => 'hang');
fails_with(qr/deadline exceeded|Timeout/i, 'hang');
$proxy->fault(fault => 'half');
fails_with(qr/unexpected EOF/, 'half');
$proxy->fault(fault => 'garbage');
fails_with(qr/unexpected EOF|error parsing|Error/i, 'garbage');
$proxy->fault(fault => 'redirect', location => 'https://vault.example:1/');
fails_with(qr/vault\.example/, 'redirect');
$proxy->fault(fault => 'endless');
fails_with(qr/./, 'endless');
# How many bytes a sender sent is known only after its connection broke.
ok(wait_until(10, sub { $proxy->counts->{endless_bytes} > 1024 * 1024 }),
	'endless: the proxy sends more than 1 MB');

$proxy->fault(fault => 'wrong_key');
($status, $output) = decrypt($wrapped);
is($status, 0, 'wrong_key: the request succeeds');
isnt($output, $plaintext, 'wrong_key: the reply holds another key');
$proxy->clear;

my $other = $bao->cli('write', '-field=ciphertext', 'transit/encrypt/chat',
	'plaintext=' . encode_base64('o' x 32, ''), "context=$context");
my $batch = qq({"batch_input":[{"ciphertext":"$wrapped","context":"$context"},{"ciphertext":"$other","context":"$context"}]});
my %name_of = ($plaintext => 'one', encode_base64('o' x 32, '') => 'other');

sub results_of_batch
{
	my (undef, $text, $errors) = client('write', '-format=json', 'transit/decrypt/chat', '-', \$batch);
	$proxy->clear;
	return $errors if $text eq '';
	return join ' ', map { $name_of{ $_->{plaintext} // '' } // $_->{error} }
	  @{ JSON::PP::decode_json($text)->{data}{batch_results} };
}
is(results_of_batch(), 'one other', 'a batch without a fault comes back whole and in order');
$proxy->fault(fault => 'shuffle');
is(results_of_batch(), 'other one', 'shuffle: the results of a batch are out of order');
$proxy->fault(fault => 'drop_item');
is(results_of_batch(), 'one', 'drop_item: the results of a batch lack an item');
$proxy->fault(fault => 'item_error', item => 0, error => 'broken');
is(results_of_batch(), 'broken other', 'item_error: one item of a batch has an error');

# Rules: by path, after so many, so many times.
$proxy->fault(path => 'encrypt', fault => 'status', code => 413);
is((decrypt($wrapped))[0], 0, 'a rule leaves other paths alone');
$proxy->clear;
$proxy->fault(fault => 'status', code => 413, skip => 1, times => 1);
is(join(' ', map { (decrypt($wrapped))[0] } 1 .. 3), '0 2 0',
	'a rule with skip and times applies to the second request alone');
$proxy->clear;
my $before = time;
$proxy->fault(delay_ms => 700);
is((decrypt($wrapped))[0], 0, 'a delayed request is passed on');
cmp_ok(time - $before, '>=', 0.7, 'a delayed request takes at least as long as delay_ms says');
$proxy->clear;

# Certificates and connections.
foreach my $case ([ other_name => qr/certificate is valid for vault\.example|doesn't contain any IP SANs/ ],
	[ expired => qr/certificate has expired/ ], [ self_signed => qr/unknown authority/ ])
{
	$proxy->certificate($case->[0]);
	fails_with($case->[1], $case->[0]);
}
$proxy->certificate('good');
is((decrypt($wrapped))[0], 0, 'a good certificate is accepted again');
$proxy->listen('refuse');
fails_with(qr/connection refused/, 'refuse');
$proxy->listen('silent');
fails_with(qr/deadline exceeded|Timeout|handshake/i, 'silent');
$proxy->listen('accept');
is((decrypt($wrapped))[0], 0, 'the proxy listens again on the same port');
eval { $proxy->fault(fault => 'no_such_fault') };
like($@, qr/no such fault/, 'a mistyped fault is refused');

# Seal and pause.
$bao->seal;
fails_with(qr/sealed/i, 'sealed');
$bao->unseal;
ok(wait_until(10, sub { (decrypt($wrapped))[0] == 0 }), 'an unsealed OpenBao unwraps again');
$bao->pause;
fails_with(qr/deadline exceeded|Timeout/i, 'paused');
$bao->resume;
is((decrypt($wrapped))[0], 0, 'a resumed OpenBao unwraps again');

done_testing();
