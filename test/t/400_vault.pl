# Provider vault against a real OpenBao: every operation of a KMS, versions of its key, and the
# keys, mounts and policies that are refused.  The proxy only counts here.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(write_secret);
use PostgreSQL::Test::Utils;
use Test::More;

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('vault', bao => $bao, proxy => $proxy);
my $key = $bao->kms_key;

sub wrapping_of
{
	my ($chat, $version) = @_;
	return $node->safe_psql('postgres', "SELECT convert_from(encrypted_dek, 'UTF8') FROM chatcrypt.dek "
		  . "WHERE chat_id = chatcrypt.to_uuid($chat) AND dek_version = $version");
}

# Every operation, once.
is(check($node, $key), 'ok', 'kms_check finds nothing wrong');
is($node->safe_psql('postgres', "SELECT string_agg(step, ', ') FROM chatcrypt.kms_check('$key')"),
	'KMS worker, key URI, make a data key, unwrap it, wrap, unwrap, refuse to unwrap for another chat, '
	  . 're-wrap, unwrap what was re-wrapped',
	'kms_check tries every operation');
$proxy->reset;
is(ask($node, 'SELECT chatcrypt.create_chat(1)'), '00000000-0000-8000-8000-000000000001',
	'a chat is made');
is($proxy->requests('datakey/plaintext/chat$'), 1,
	'the server makes the data key of a single chat');
is($proxy->requests, 1, 'a single new chat takes one request');
like(wrapping_of(1, 1), qr/^vault:v1:[A-Za-z0-9+\/]{80}$/,
	'a data key is stored as the server wrapped it');
is(ask($node, 'SELECT chatcrypt.decrypt(1, 1, chatcrypt.encrypt(1, 1, $$one$$))'), 'one',
	'a new chat seals and opens');
$proxy->reset;
make_chats($node, 1001, 1300);
cmp_ok($proxy->requests('encrypt/chat$'), '<=', 3,
	'300 new chats in one call take at most three requests');
is($proxy->items('encrypt/chat$'), 300, '300 new chats in one call have 300 keys wrapped');
ask($node, q{SELECT chatcrypt.import_dek(1, decode(repeat('d7', 32), 'hex'), 5)});
is(ask($node, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(1, 1, $$x$$))'), '5', 'an imported key seals');
my $sealed = ask($node, 'SELECT chatcrypt.encrypt(1, 7, $$by the fifth$$)');
like(wrapping_of(1, 5), qr/^vault:v1:/, 'an imported key is wrapped');
is(ask($node, 'SELECT chatcrypt.rotate_chat(1)'), '6',
	'a chat is rotated to the version after the imported one');

make_cold($node);
$proxy->reset;
is(ask($node, "SELECT chatcrypt.decrypt(1, 7, '$sealed')"), 'by the fifth', 'a cold key is unwrapped');
is($proxy->requests('decrypt/chat$'), 1, 'a cold key is unwrapped with one request');
is(ask($node, 'SELECT (chatcrypt.warm_keys(array_agg(n))).warmed FROM generate_series(1001::bigint, 1300) AS n'), '300',
	'warm_keys() warms 300 chats');
my $requests = $proxy->requests('decrypt/chat$');
cmp_ok($requests, '<=', 4, 'warm_keys() of 300 chats takes at most three more requests');
is(count_read($node, 1001 .. 1300), '300', '300 warm chats are read');
is($proxy->requests('decrypt/chat$'), $requests, 'warm chats are read without another request');
is(status($node, 'reachable, breaker, key_derived, key_exportable, key_latest_version, in_flight, waiting'),
	't|closed|t|f|1|0|0', 'kms_status shows the state and the properties of the key');
is(status($node, q{last_success > now() - interval '1 minute', latency_p50_ms > 0, latency_p99_ms >= latency_p50_ms,
	token_lease_left BETWEEN '1 hour' AND '800 hours', last_error IS NULL}), 't|t|t|t|t',
		'kms_status shows times and the lease of the token');

# A new version of the key at the server.
$bao->cli('write', '-f', 'transit/keys/chat/rotate');
is(ask($node, 'SELECT chatcrypt.rotate_chat(1)'), '7',
	'a chat is rotated after a rotation at the server');
like(wrapping_of(1, 7), qr/^vault:v2:/, 'a new data key is wrapped by the new version');
make_cold($node);
is(ask($node, "SELECT chatcrypt.decrypt(1, 7, '$sealed')"), 'by the fifth',
	'a data key that the old version wrapped still unwraps');
is(check($node, $key), 'ok', 'kms_check re-wraps after a rotation at the server');
is(status($node, 'key_latest_version, key_min_decryption_version'), '2|1', 'kms_status shows both versions');
$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=2');
like(failure($node, read_chat(1001)),
	qr/^55000 could not unwrap the data key of chat 1001 version 1 DETAIL: .*disallowed by policy \(too old\).* HINT: .*no longer allowed/,
	'a version below the minimum is refused, and the error says why');
is(ask($node, "SELECT chatcrypt.decrypt(1, 7, '$sealed')"), 'by the fifth',
	'a warm key of a version below the minimum opens until it is refreshed');
is(ask($node, 'SELECT chatcrypt.decrypt(1, 1, chatcrypt.encrypt(1, 1, $$x$$))'), 'x',
	'a key of the newer version works');
$proxy->reset;
like(failure($node, read_chat(1001)), qr/too old/, 'the refusal of a version is remembered');
is($proxy->requests, 0, 'a version that was refused is not requested again');
$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=1');
is(check($node, $key), 'ok', 'kms_check ignores what is remembered');
is(ask($node, read_chat(1001)), 'body 1001',
	'a kms_check that succeeds makes the refusal forgotten');
$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=2');
like(failure($node, read_chat(1002)), qr/too old/, 'a version below the minimum is refused again');
$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=1');
set($node);
is(ask($node, read_chat(1002)), 'body 1002', 'a reload makes the refusal forgotten too');

# A wrapped key that was moved to another chat, and one that is damaged.
$node->safe_psql('postgres', q{UPDATE chatcrypt.dek AS d SET encrypted_dek = o.encrypted_dek
	FROM chatcrypt.dek AS o WHERE d.chat_id = chatcrypt.to_uuid(1002) AND o.chat_id = chatcrypt.to_uuid(1003)});
$node->safe_psql('postgres', q{UPDATE chatcrypt.dek SET encrypted_dek = substr(encrypted_dek, 1, 40)
	WHERE chat_id = chatcrypt.to_uuid(1004)});
make_cold($node);
like(failure($node, read_chat(1002)), qr/^55000 .*message authentication failed/,
	'a wrapped key of another chat is refused');
like(failure($node, read_chat(1004)), qr/^55000 .*not one of Vault or OpenBao, or is damaged/,
	'a damaged wrapped key is refused');
is(ask($node, 'SELECT warmed, chatcrypt.number_of(chat_id), reason FROM chatcrypt.warm_keys(ARRAY[1002, 1004, 1005, 1006]) ORDER BY 1, 2'),
	"0|1002|does not unwrap\n0|1004|does not unwrap\n2||",
		'warm_keys() refuses moved and damaged keys and warms the others');
$proxy->reset;
is(ask($node, read_chat(1005)), 'body 1005', 'a chat that was warmed beside refused keys is read');
is($proxy->requests, 0, 'a chat that was warmed beside refused keys is read without a request');

# Many keys that are refused for one reason raise one warning; the log has one line a minute.
$node->safe_psql('postgres', 'UPDATE chatcrypt.dek SET encrypted_dek = substr(encrypted_dek, 1, 40) WHERE chat_id BETWEEN chatcrypt.to_uuid(1010) AND chatcrypt.to_uuid(1019)');
$bao->cli('write', '-f', 'transit/keys/chat/rotate');
make_cold($node);		# and what the log was told within the last minute is forgotten
my $log_before = -s $node->logfile;
my (undef, $counts, $warnings) = $node->psql('postgres', 'CALL chatcrypt.rewrap()');
like($counts, qr/^\d\d+\|12$/, 'rewrap() goes on where keys are refused');
my @warnings = $warnings =~ /^.*WARNING:  (could not .*)/mg;
cmp_ok(scalar(@warnings), '<=', 2, 'rewrap() raises one warning for each reason');
like("@warnings", qr/could not (?:re-wrap|unwrap) the data key of chat \d+ version \d+, nor \d+ others of "vault:transit\/chat"/,
	'a warning of rewrap() counts the keys');
like($warnings, qr/DETAIL:  The key service of .*\n.*HINT:  The key was wrapped for another chat/,
	'a warning of rewrap() says why');
my @lines = grep { !/statement:/ } split /\n/, slurp_file($node->logfile, $log_before);
is(scalar(grep { /could not/ } @lines), 1, 'the log has one line for a key and SQLSTATE');
is(scalar(grep { /DETAIL|HINT|STATEMENT/ } @lines), 0,
	'the log has no further detail of the refused keys');

# Keys that must not be used.
sub tenant_with
{
	my ($tenant, $uri) = @_;
	$node->safe_psql('postgres', "SELECT chatcrypt.create_tenant('$tenant', '$uri')");
	return "SELECT chatcrypt.create_chat(tenant => '$tenant')";
}
my $flat = tenant_with('flat', $bao->add_key('flat', 'derived=false'));
like(failure($node, $flat), qr/^F0000 could not make .*the key vault:transit\/flat is refused: it is not derived.*vault_allow_underived is off/,
	'a key that is not derived is refused');
is(status($node, 'key_derived, last_error LIKE $$%not derived%$$', 'vault:transit/flat'), 'f|t',
	'kms_status shows that a key is not derived');
my $open = tenant_with('open', $bao->add_key('open', 'derived=true', 'exportable=true'));
like(failure($node, $open), qr/^F0000 .*it is exportable/, 'a key that can be exported is refused');
my $signing = tenant_with('signing', $bao->add_key('signing', 'type=ed25519'));
like(failure($node, $signing), qr/^F0000 .*its type is not/, 'a key of another type is refused');
my $backup = $bao->add_key('backup');
$bao->cli('write', 'transit/keys/backup/config', 'allow_plaintext_backup=true');
like(failure($node, tenant_with('backup', $backup)), qr/^F0000 .*plaintext backups/,
	'a key that allows plaintext backups is refused');
set($node, 'chatcrypt.vault_allow_underived' => 'on');
is(failure($node, $flat), '', 'an underived key is accepted where the setting says so');
like(check($node, 'vault:transit/flat'), qr/^refuse to unwrap for another chat: it unwrapped/,
	'kms_check tells what an underived key means');
like(failure($node, $open), qr/it is exportable/,
	'a key that can be exported is refused whatever the setting');
set($node, 'chatcrypt.vault_allow_underived' => undef);

# Keys and mounts that do not exist.  The policy covers them, or the answer would be 403.
my $broad = $bao->policy('chat', 'nothing') . qq(path "nowhere/*" { capabilities = ["create", "read", "update"] }\n);
$bao->cli('policy', 'write', 'chatcrypt', '-', \$broad);
like(failure($node, tenant_with('nothing', 'vault:transit/nothing')), qr/^42704 .*the key check of vault:transit\/nothing: status 404/,
	'a missing key raises an error');
unlike($bao->cli('list', 'transit/keys'), qr/nothing/, 'a missing key is not made');
like(failure($node, tenant_with('nowhere', 'vault:nowhere/chat')), qr/^42704 .*status 404.*no handler for route/,
	'a missing mount raises an error');
foreach my $uri ('vault:sys/raw', 'vault:auth/token', 'vault:../sys/raw', 'vault:transit', 'vault:transit/../sys', 'vault:transit/chat?x')
{
	like(check($node, $uri), qr/^key URI: not a key URI of this provider/, "$uri is no key URI");
}

# A key that is deleted while its chats live.
my $doomed = $bao->add_key('doomed');
tenant_with('doomed', $doomed);
make_chats($node, 2001, 2002, 'doomed');
$bao->cli('write', 'transit/keys/doomed/config', 'deletion_allowed=true');
$bao->cli('delete', 'transit/keys/doomed');
make_cold($node);
like(failure($node, read_chat(2001)), qr/^42704 .*HINT: Bring the key back/,
	'a chat whose key was deleted raises an error');
is(ask($node, read_chat(1001)), 'body 1001', 'the deletion of a key does not affect other keys');

# A policy that does not allow decrypt: the call is made once more after a fresh look-up of the
# token, and not again.
my $narrow = qq(path "transit/keys/chat" { capabilities = ["read"] }\npath "transit/datakey/plaintext/chat" { capabilities = ["update"] }\n);
$bao->cli('policy', 'write', 'chatcrypt', '-', \$narrow);
make_cold($node);
$proxy->reset;
like(failure($node, read_chat(1001)), qr/^28000 could not unwrap .*status 403: .*permission denied.*HINT: Check the server's login .* policy/,
	'a policy without decrypt raises an error');
is($proxy->requests('decrypt/chat$'), 2, 'a denied call is made twice');
is($proxy->requests('lookup-self$'), 2, 'the token is looked up again before the second call');
like(failure($node, read_chat(1006)), qr/^28000 /, 'other chats of the denied key are refused');
is($proxy->requests('decrypt/chat$'), 2,
	'other chats of the denied key are refused without a request');
$bao->set_policy('chat');
is(check($node, $key), 'ok', 'kms_check finds the policy restored');
is(ask($node, read_chat(1001)), 'body 1001', 'a chat is read after the policy is restored');

is_deeply($proxy->counts->{repeated_headers}, {}, 'no request carries one header twice');

$node->stop;
done_testing();
