# Every way to log in to a real OpenBao, with its leases and its namespaces, and the effects of a
# wrong or a revoked credential.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until write_secret);
use File::Basename qw(dirname);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('logins', bao => $bao, proxy => $proxy, conf => "chatcrypt.kms_timeout = '3s'\n");
my $key = $bao->kms_key;
my $folder = PostgreSQL::Test::Utils::tempdir();

my @login_settings = map { "chatcrypt.vault_$_" } qw(token_file role_id_file secret_id_file
  kubernetes_role kubernetes_token_file cert_role cert_file key_file namespace);

# Uses this login and no other.
sub login_by
{
	my (%settings) = @_;
	set($node, (map { $_ => undef } @login_settings), map { ("chatcrypt.vault_$_" => $settings{$_}) } keys %settings);
	return;
}

sub secret
{
	my ($name, $content) = @_;
	return write_secret("$folder/$name", $content);
}

make_chats($node, 1, 9);

# AppRole.
login_by(role_id_file => $bao->role_id_file, secret_id_file => $bao->secret_id_file);
$proxy->reset;
is(check($node, $key), 'ok', 'AppRole: kms_check succeeds');
is($proxy->requests('auth/approle/login$'), 1, 'AppRole: one login is made');
make_cold($node);
is(ask($node, read_chat(1)), 'body 1', 'AppRole: a login is made again after a restart');
login_by(role_id_file => $bao->role_id_file, secret_id_file => secret('wrong', 'no-such-secret-id'));
like(failure($node, read_chat(2)), qr/^28000 .*the login at auth\/approle: status 400: invalid role or secret ID/,
	'AppRole: a wrong secret id raises an error');
$proxy->reset;
like(failure($node, read_chat(3)), qr/^28000 .*the login at auth\/approle/,
	'AppRole: a refused login is remembered');
is($proxy->requests, 0, 'AppRole: a refused login is not tried again');
secret('wrong', slurp_file($bao->secret_id_file));
is(ask($node, read_chat(9)), 'body 9',
	'AppRole: another secret id in the same file is tried at once');
set($node, 'chatcrypt.vault_approle_mount' => 'elsewhere');
like(failure($node, read_chat(3)), qr/^F0000 .*the login at auth\/elsewhere: status 40[34]|^28000 .*the login at auth\/elsewhere/,
	'AppRole: a mount that does not exist raises an error');
set($node, 'chatcrypt.vault_approle_mount' => undef);

# Short leases: a token is renewed after two thirds of its lease, and a new login is made where
# renewal ends.
$bao->set_role('token_ttl=3s', 'token_max_ttl=5s');
login_by(role_id_file => $bao->role_id_file, secret_id_file => $bao->secret_id_file);
$proxy->reset;
my ($asked, $failed) = (0, 0);
wait_until(9, sub {
	$asked++;
	$failed++ if check($node, $key) ne 'ok';
	sleep(0.2);
	return 0;
});
is($failed, 0, "leases of 3 s, 5 s at most: none of $asked checks failed in 9 s");
cmp_ok($proxy->requests('renew-self$'), '>=', 2, 'short leases: the token is renewed');
cmp_ok($proxy->requests('approle/login$'), '>=', 2,
	'short leases: a login makes a new token where renewal ends');
cmp_ok($proxy->requests('(renew-self|login)$'), '<=', 14,
	'short leases: renewals and logins are few');
like(status($node, 'extract(epoch FROM token_lease_left)'), qr/^[0-3](\.\d+)?$/,
	'short leases: kms_status shows the rest of the lease');
$bao->set_role('token_ttl=1h', 'token_max_ttl=24h');

# A token that the server forgets is replaced without an error.
login_by(role_id_file => $bao->role_id_file, secret_id_file => $bao->secret_id_file);
is(check($node, $key), 'ok', 'AppRole: kms_check succeeds before the token is revoked');
$bao->cli('write', '-f', 'auth/token/tidy');
my @accessors = split /\n/, $bao->cli('list', 'auth/token/accessors') =~ s/.*----\n//sr;
foreach my $accessor (@accessors)
{
	my ($status, $text) = $bao->try_cli('token', 'lookup', '-accessor', $accessor);
	$bao->try_cli('token', 'revoke', '-accessor', $accessor) if $status == 0 && $text =~ /auth\/approle\/login/;
}
$proxy->reset;
is(ask($node, read_chat(4)), 'body 4', 'after a token was revoked, an AppRole logs in again');
is($proxy->requests('approle/login$'), 1, 'after a token was revoked, one login is made');
is($proxy->requests('decrypt/chat$'), 2,
	'after a token was revoked, the refused call is made again');

# Token file: a new token is used at once, a bad one is not.
my $token = secret('token', $bao->new_token);
login_by(token_file => $token);
is(check($node, $key), 'ok', 'token file: kms_check succeeds');
secret('token', $bao->new_token . "\n");
$proxy->reset;
ok(wait_until(5, sub { check($node, $key) eq 'ok' && $proxy->requests('lookup-self$') == 1 }),
	'token file: a new token in the file is used');
secret('token', "s.nonsense\n");
$proxy->reset;
ok(wait_until(5, sub { check($node, $key) ne '' && $proxy->requests('lookup-self$') >= 1 }),
	'token file: a bad token is looked up');
is(check($node, $key), 'ok', 'token file: the old token is used while the file has a bad one');
like(status($node, 'last_error'), qr/the look-up of the token in the file of chatcrypt.vault_token_file: status 403/,
	'token file: kms_status tells of the bad token');
make_cold($node);
like(failure($node, read_chat(1)), qr/^28000 .*the look-up of the token in the file of chatcrypt.vault_token_file: status 403/,
	'token file: a bad token raises an error where there is no old token');
secret('token', $bao->new_token);
set($node);
is(ask($node, read_chat(1)), 'body 1', 'token file: a good token ends the error');

# Files that others could read, or that do not exist.
chmod 0644, $token or die "$token: $!";
make_cold($node);
like(failure($node, read_chat(2)), qr/^F0000 .*the file of chatcrypt.vault_token_file is refused: .*HINT: Correct the server's chatcrypt settings or files/,
	'token file: a file that others can read is refused');
chmod 0600, $token or die "$token: $!";
is(check($node, $key), 'ok', 'token file: kms_check sees the corrected file without a reload');
login_by(token_file => "$folder/nothing");
my $missing = failure($node, read_chat(3));
like($missing, qr/^F0000 .*could not open the file of chatcrypt.vault_token_file: /,
	'token file: a file that does not exist raises an error');
unlike($missing, qr/\Q$folder\E/, 'an error about a token file does not name its path');

# Settings that contradict each other.
login_by(token_file => $token, role_id_file => $bao->role_id_file, secret_id_file => $bao->secret_id_file);
like(failure($node, read_chat(3)), qr/^F0000 .*two Vault logins are set/,
	'two logins at once raise an error');
login_by();
like(failure($node, read_chat(3)), qr/^F0000 .*no Vault login is set/, 'no login raises an error');
login_by(role_id_file => $bao->role_id_file);
like(failure($node, read_chat(3)), qr/^F0000 .*needs both/,
	'a role id without a secret id raises an error');
login_by(token_file => $token);
set($node, 'chatcrypt.vault_addr' => $proxy->address =~ s/^https/http/r);
like(failure($node, read_chat(3)), qr/^F0000 .*must begin with https/,
	'an address without TLS raises an error');
set($node, 'chatcrypt.vault_addr' => $proxy->address);
is(ask($node, read_chat(3)), 'body 3', 'a chat is read after the settings are corrected');

# Kubernetes, with a stand-in for the API server that answers TokenReview.
my ($input, $output, $error) = ('', '', '');
my $api = IPC::Run::start([ '/usr/bin/python3', dirname($INC{'Chatcrypt/Test.pm'}) . '/../token_review.py',
	'--namespace', 'db', '--account', 'chatdb' ], '<', \$input, '>', \$output, '2>', \$error);
wait_until(20, sub { $api->pump_nb; $output =~ /\n/ }) or die "token_review.py: $error";
my $ready = JSON::PP::decode_json($output);
$bao->cli('auth', 'enable', 'kubernetes');
$bao->cli('write', 'auth/kubernetes/config', "kubernetes_host=http://127.0.0.1:$ready->{port}", 'disable_local_ca_jwt=true',
	'kubernetes_ca_cert=@' . $bao->ca_file, 'token_reviewer_jwt=' . $ready->{token}, 'disable_iss_validation=true');
$bao->cli('write', 'auth/kubernetes/role/chatcrypt', 'bound_service_account_names=chatdb',
	'bound_service_account_namespaces=db', 'token_policies=chatcrypt', 'token_ttl=1h');
login_by(kubernetes_role => 'chatcrypt', kubernetes_token_file => secret('pod', $ready->{token}));
$proxy->reset;
is(check($node, $key), 'ok', 'Kubernetes: kms_check succeeds');
is($proxy->requests('auth/kubernetes/login$'), 1, 'Kubernetes: one login is made');
chmod 0644, "$folder/pod" or die "$folder/pod: $!";
make_cold($node);
is(ask($node, read_chat(1)), 'body 1',
	'Kubernetes: a token file that others can read is taken, as a pod mounts it');
secret('pod', $ready->{token} =~ s/.$/A/r);
make_cold($node);
like(failure($node, read_chat(1)), qr/^28000 .*the login at auth\/kubernetes: status 403/,
	'Kubernetes: a token that the API server does not know raises an error');
$api->kill_kill;

# TLS certificate: connects to OpenBao directly, since the proxy terminates TLS.
system_or_bail('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
	'-subj', '/CN=chatdb', '-days', '2', '-addext', 'extendedKeyUsage=clientAuth',
	'-keyout', "$folder/client.key", '-out', "$folder/client.pem");
chmod 0600, "$folder/client.key" or die "$folder/client.key: $!";
$bao->cli('auth', 'enable', 'cert');
$bao->cli('write', 'auth/cert/certs/chatcrypt', "certificate=\@$folder/client.pem", 'token_policies=chatcrypt', 'token_ttl=1h',
	'allowed_common_names=chatdb');
set($node, 'chatcrypt.vault_addr' => $bao->address, 'chatcrypt.vault_ca_file' => $bao->ca_file);
login_by(cert_role => 'chatcrypt', cert_file => "$folder/client.pem", key_file => "$folder/client.key");
is(check($node, $key), 'ok', 'TLS certificate: kms_check succeeds');
make_cold($node);
is(ask($node, read_chat(1)), 'body 1', 'TLS certificate: a login is made after a restart');
login_by(cert_role => 'chatcrypt');
like(failure($node, read_chat(2)), qr/^28000 .*the login at auth\/cert: status 400: .*client certificate/,
	'TLS certificate: a login without the certificate raises an error');
set($node, 'chatcrypt.vault_addr' => $proxy->address, 'chatcrypt.vault_ca_file' => $proxy->ca_file);

# A namespace, with its own login and key.
my @in_team = ('-namespace=team');
$bao->cli('namespace', 'create', 'team');
$bao->cli('secrets', 'enable', @in_team, 'transit');
$bao->cli('write', @in_team, '-f', 'transit/keys/chat', 'derived=true');
my $policy = $bao->policy('chat');
$bao->cli('policy', 'write', @in_team, 'chatcrypt', '-', \$policy);
my $team_token = $bao->cli('token', 'create', @in_team, '-field=token', '-policy=chatcrypt', '-orphan');
login_by(token_file => secret('team', $team_token), namespace => 'team');
is(check($node, $key), 'ok', 'a namespace: kms_check succeeds');
$node->safe_psql('postgres', 'CREATE DATABASE team');
is($node->safe_psql('team', 'CREATE EXTENSION chatcrypt; SELECT count(chatcrypt.create_chat(100))'), '1',
	'a namespace: a database makes a chat with its key');
like(failure($node, read_chat(2)), qr/^55000 .*message authentication failed/,
	'a namespace: a key of the same name in the namespace is another key');
like(failure($node, 'SELECT chatcrypt.create_chat(100)'), qr/^55000 .*it is another one/,
	'a namespace: its key wraps no data key beside those of the other key of that name');
login_by(token_file => $token);
make_cold($node);
my (undef, undef, $team_error) = $node->psql('team', 'SELECT chatcrypt.encrypt(100, 1, $$x$$)');
like($team_error, qr/message authentication failed/,
	'a namespace: the other key does not open what the key of the namespace wrapped');
is(ask($node, read_chat(2)), 'body 2',
	'a namespace: chats from before are read with their own key');
login_by(token_file => $token, namespace => 'nowhere');
like(failure($node, read_chat(3)), qr/^(28000|F0000|42704) /,
	'a namespace that does not exist raises an error');
login_by(token_file => $token);

# A revoked token: warm keys work until their refresh, which is refused, and no longer.
set($node, 'chatcrypt.cache_ttl' => '2s');
make_cold($node);
is(ask($node, read_chat($_)), "body $_", "chat $_ is warm") foreach 1, 2;
$bao->cli('token', 'revoke', slurp_file($token));
is(ask($node, read_chat(1)), 'body 1', 'a revoked token: a warm chat is read at once');
my $stopped = wait_until(10, sub { failure($node, read_chat(1)) =~ /^28000 / });
ok($stopped, 'a revoked token: a warm chat is refused at its next refresh, before the hard limit');
ok(wait_until(5, sub { failure($node, read_chat(2)) =~ /^28000 / }),
	'a revoked token: every warm chat is refused');
is($node->safe_psql('postgres', 'SELECT entries FROM chatcrypt.cache_status'), '0',
	'a revoked token: the keys leave the cache');
write_secret($token, $bao->new_token);
set($node);
is(ask($node, read_chat(1)), 'body 1', 'a revoked token: chats are read again with a new token');

# No error, line of the log or view holds a credential.
my $log = slurp_file($node->logfile);
foreach my $file ($bao->role_id_file, $bao->secret_id_file, $token, "$folder/team", "$folder/pod")
{
	my $secret = slurp_file($file);
	chomp $secret;
	is(index($log, $secret), -1, "the log does not hold the content of $file");
}
cmp_ok(index($log, 'status 403'), '>', 0, 'the log holds the errors of this test');

$node->stop;
done_testing();
