# Only the authorities of chatcrypt.vault_ca_file are trusted: an impostor whose certificate is of
# another authority, even one that the operating system knows, is sent nothing by any login or call.
# The test runs where /etc/ssl/certs is a folder of its own: in a mount namespace, as the same user.
use strict;
use warnings;
use File::Path ();
use File::Temp ();
use Test::More;

my $system_folder;

# A mount needs the root user of a namespace, and PostgreSQL must not run as root: so the test runs
# in a namespace inside that one.
sub enter_namespace
{
	my $mine = File::Temp::tempdir();
	my $user = $> . ' --map-group=' . ($) =~ s/ .*//r);
	my @outer = ('unshare', '--user', '--map-root-user', '--mount', 'sh', '-ec');

	chmod 0755, $mine or die "$mine: $!";
	if (system(@outer, "mount --bind $mine $system_folder && unshare --user --map-user=$user true") != 0)
	{
		die "no mount namespaces here, and CI must have them\n" if ($ENV{CI} // '') eq 'true';
		plan(skip_all => 'no mount namespaces for this user');
	}
	$ENV{CHATCRYPT_CERTS} = $mine;
	exec @outer, "mount --bind $mine $system_folder; exec unshare --user --map-user=$user -- \"\$\@\"",
	  'sh', $^X, (map { "-I$_" } grep { !ref } @INC), $0
	  or die "exec: $!";
}

# Before the modules below are loaded, because they take standard output for themselves.
BEGIN
{
	$system_folder = '/etc/ssl/certs';
	enter_namespace() unless defined $ENV{CHATCRYPT_CERTS};
}

use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until write_secret);
use File::Basename qw(dirname);
use File::Copy qw(copy);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $certs = $ENV{CHATCRYPT_CERTS};
my $proxy = Chatcrypt::FaultProxy->start($bao);
copy($proxy->other_ca_file, "$certs/other-ca.pem") or die "$certs: $!";
system_or_bail('openssl', 'rehash', $certs);
$ENV{SSL_CERT_DIR} = $certs;
$ENV{SSL_CERT_FILE} = "$certs/other-ca.pem";
my $node = Chatcrypt::Test->start('pinned', bao => $bao, proxy => $proxy, conf => "chatcrypt.kms_timeout = '2s'\n");
my $folder = PostgreSQL::Test::Utils::tempdir();
my $next_chat = 1;

ok(-e "$system_folder/other-ca.pem" && grep({ /^[0-9a-f]{8}\.0$/ } map { s,.*/,,r } glob "$system_folder/*"),
	'the operating system knows the other authority');

sub login_by
{
	my (%settings) = @_;
	set($node, (map { ("chatcrypt.vault_$_" => undef) } qw(token_file role_id_file secret_id_file kubernetes_role
			kubernetes_token_file cert_role cert_file key_file)), map { ("chatcrypt.vault_$_" => $settings{$_}) } keys %settings);
	return;
}

# A call to the impostor ends with its certificate, and the impostor never sees a request.
sub sent_nothing
{
	my ($name, $sql) = @_;

	$proxy->certificate('other_ca');
	$proxy->reset;
	my $error = failure($node, $sql) || status($node, 'last_error');	# rewrap() only counts
	like($error, qr/could not be reached: .*certificate/, "$name: the impostor's certificate is refused");
	is($proxy->requests, 0, "$name: the impostor was sent no request");
	cmp_ok($proxy->counts->{handshakes_failed}, '>', 0, "$name: the impostor was called");
	$proxy->certificate('good');
	return;
}

make_chats($node, 1, 40);

# Each call, with a session that is logged in already.
my %calls = (
	'a key that is made' => sub { 'SELECT chatcrypt.create_chat()' },
	'a key that is unwrapped' => sub { read_chat($next_chat++) },
	'a key that is wrapped' => sub { 'SELECT chatcrypt.import_dek(' . $next_chat++ . q{, decode(repeat('d7', 32), 'hex'), 5)} },
	'rewrap()' => sub { 'CALL chatcrypt.rewrap(kms_key => $$vault:transit/chat$$, max_keys => 1)' },
);
$bao->cli('write', '-f', 'transit/keys/chat/rotate');
foreach my $name (sort keys %calls)
{
	make_cold($node);
	is(check($node, $bao->kms_key), 'ok', "$name: the session is logged in");
	sent_nothing($name, $calls{$name}->());
}
make_cold($node);
my $other_key = $bao->add_key('other');
is(check($node, $bao->kms_key), 'ok', 'the first look at a key: the session is logged in');
$node->safe_psql('postgres', "SELECT chatcrypt.create_tenant('other', '$other_key')");
sent_nothing('the first look at a key', "SELECT chatcrypt.create_chat(tenant => 'other')");

# Each login, with its credentials ready to be sent.
my ($input, $output, $error) = ('', '', '');
my $api = IPC::Run::start([ '/usr/bin/python3', dirname($INC{'Chatcrypt/Test.pm'}) . '/../token_review.py',
	'--namespace', 'db', '--account', 'chatdb' ], '<', \$input, '>', \$output, '2>', \$error);
wait_until(20, sub { $api->pump_nb; $output =~ /\n/ }) or die "token_review.py: $error";
my $pod_token = JSON::PP::decode_json($output)->{token};
$api->kill_kill;
system_or_bail('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
	'-subj', '/CN=chatdb', '-days', '2', '-addext', 'extendedKeyUsage=clientAuth',
	'-keyout', "$folder/client.key", '-out', "$folder/client.pem");
chmod 0600, "$folder/client.key" or die "$folder/client.key: $!";
my %logins = (
	'token file' => { token_file => $bao->token_file },
	'AppRole' => { role_id_file => $bao->role_id_file, secret_id_file => $bao->secret_id_file },
	'Kubernetes' => { kubernetes_role => 'chatcrypt', kubernetes_token_file => write_secret("$folder/pod", $pod_token) },
	'TLS certificate' => { cert_role => 'chatcrypt', cert_file => "$folder/client.pem", key_file => "$folder/client.key" },
);
foreach my $name (sort keys %logins)
{
	login_by(%{ $logins{$name} });
	sent_nothing("login by $name", read_chat($next_chat++));
}

# A renewal, which is started by the worker itself.
$bao->set_role('token_ttl=3s', 'token_max_ttl=60s');
login_by(%{ $logins{AppRole} });
is(check($node, $bao->kms_key), 'ok', 'a renewal: the session is logged in');
$proxy->certificate('other_ca');
$proxy->reset;
ok(wait_until(10, sub { $proxy->counts->{handshakes_failed} > 0 }), 'a renewal: the impostor was called');
is($proxy->requests, 0, 'a renewal: the impostor was sent no request');
$proxy->certificate('good');
login_by(%{ $logins{'token file'} });
is(ask($node, read_chat(30)), 'body 30', 'a server with a certificate of the CA file is trusted');

# Without the setting, the authorities of the operating system are trusted, and no others.
write_secret("$certs/ca-certificates.crt", slurp_file($bao->ca_file));
set($node, 'chatcrypt.vault_ca_file' => '');
$proxy->certificate('other_ca');
is(ask($node, read_chat(31)), 'body 31', 'without a CA file, an authority of the operating system is trusted');
$proxy->certificate('good');
set($node);
like(failure($node, read_chat(32)), qr/^58030 .*could not be reached: .*certificate/, 'without a CA file, no other authority is trusted');

$node->stop;
File::Path::remove_tree($certs, { keep_root => 1 });
done_testing();
