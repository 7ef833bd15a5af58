# Whatever stands between chatcrypt and its KMS may answer anything, late, or not at all: each
# case ends in a clear message within its time, and never in a wrong key.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('faults', bao => $bao, proxy => $proxy, conf => "chatcrypt.kms_timeout = '800ms'\n");

# Cold chats with a message each, one after the other.
my $last_chat = 600;
my $next_chat = 1;
make_chats($node, 1, $last_chat);
make_cold($node);

sub cold { die 'out of cold chats' if $next_chat > $last_chat; return $next_chat++; }

sub warm
{
	my (@chats) = @_;
	return 'SELECT sum(warmed) FROM chatcrypt.warm_keys(ARRAY[' . join(', ', @chats) . '])';
}

# How many are warmed, how many are not, and why.
sub warmed
{
	my (@chats) = @_;
	return ask($node, q{SELECT sum(warmed), count(reason), string_agg(DISTINCT reason || ': ' || detail, ',')
		FROM chatcrypt.warm_keys(ARRAY[} . join(', ', @chats) . '])');
}

# All is well again, at once: a reload forgets what was remembered.
sub recover
{
	$proxy->clear;
	set($node);
	defined works_again($node, cold(), 15) or die 'does not recover';
	$proxy->reset;
	return;
}

# The fault for as long as one request lasts: an error that says what happened, no later than
# the timeout, and the chat as it was once the fault is over.
sub fails
{
	my ($name, $pattern, %rule) = @_;
	my $chat = cold();
	my $error;

	recover();
	$proxy->fault(path => 'decrypt', %rule);
	my $seconds = seconds(sub { $error = failure($node, read_chat($chat)) });
	like($error, qr/^58030 could not unwrap the data key of chat .* version 1 DETAIL: .*$pattern.* HINT: See chatcrypt.kms_status(?: and chatcrypt.kms_worker)?, then retry; nothing was changed\./,
		"$name: fails");
	cmp_ok($seconds, '<', 4, sprintf('%s: in time (%.2f s of 0.8)', $name, $seconds));
	like(status($node, 'last_error'), qr/$pattern/, "$name: kms_status tells");
	recover();
	is(ask($node, read_chat($chat)), "body $chat", "$name: nothing was harmed");
	return;
}

# The fault once: tried again, and nobody notices.
sub survives
{
	my ($name, %rule) = @_;
	my $chat = cold();

	recover();
	$proxy->fault(path => 'decrypt', times => 1, %rule);
	is(ask($node, read_chat($chat)), "body $chat", "$name, once: tried again");
	is($proxy->requests('decrypt'), 2, "$name, once: by one more request");
	return;
}

my %status = (fault => 'status');
fails('reset', 'could not be reached: ', fault => 'reset');
fails('closed', 'could not be reached: ', fault => 'close');
fails('half a reply', 'could not be reached: ', fault => 'half');
fails('garbage', 'the reply is not what was asked for', fault => 'garbage');
fails('nothing', 'the reply is not what was asked for', fault => 'garbage', body => '');
fails('deep nonsense', 'the reply is not what was asked for', fault => 'garbage', body => '[' x 100000);
fails('no results', 'the reply is not what was asked for|0 results for 1 items', fault => 'garbage', body => '{"data":{"batch_results":[]}}');
fails('a short key', 'the reply does not hold what was asked for', fault => 'garbage', body => '{"data":{"batch_results":[{"plaintext":"AAAA"}]}}');
fails('an endless reply', 'the reply is larger than 1 MB', fault => 'endless');
fails('a huge reply', 'the reply is larger than 1 MB', fault => 'oversized');
fails('no reply', 'did not answer', fault => 'hang');
fails('a slow reply', 'did not answer', delay_ms => 2000);
fails('a redirect', 'redirect', fault => 'redirect', location => $bao->address);
fails('500', 'status 500: told to by the test', %status, code => 500);
fails('502', 'status 502', %status, code => 502, body => '<html>Bad Gateway</html>');
fails('412', 'status 412', %status, code => 412);
fails('429', 'status 429', %status, code => 429);
fails('503', 'status 503: Vault is sealed', %status, code => 503, body => '{"errors":["Vault is sealed"]}');
fails('204', 'a status that means nothing here|not what was asked for', %status, code => 204, body => '');
fails('one result too few', 'the reply has 0 results for 1 items', fault => 'drop_item');

ok(wait_until(20, sub { my $poured = $proxy->counts->{endless_bytes}; return $poured < 16 * 1024 * 1024 }), 'what was endless was cut off');

# With time for a second try.
set($node, 'chatcrypt.kms_timeout' => '4s');
survives('reset', fault => 'reset');
survives('closed', fault => 'close');
survives('half a reply', fault => 'half');
survives('garbage', fault => 'garbage');
survives('500', %status, code => 500);
survives('429', %status, code => 429);

# Retry-After: not a moment earlier, and not at all where that would be too late.
recover();
my $chat = cold();
$proxy->fault(path => 'decrypt', %status, code => 429, retry_after => 2, times => 1);
my $seconds = seconds(sub { is(ask($node, read_chat($chat)), "body $chat", 'Retry-After: the second try succeeds') });
cmp_ok($seconds, '>=', 1.9, sprintf('and waits as long as was said: %.2f s of 2', $seconds));
recover();
$chat = cold();
$proxy->fault(path => 'decrypt', %status, code => 429, retry_after => 60, times => 1);
$seconds = seconds(sub { like(failure($node, read_chat($chat)), qr/^58030 .*status 429/, 'Retry-After past the timeout: fails') });
cmp_ok($seconds, '<', 2, sprintf('at once, not after the timeout: %.2f s', $seconds));
$proxy->reset;
like(failure($node, read_chat(cold())), qr/^58030 .*status 429/, 'others of the key as well');
is($proxy->requests('decrypt'), 0, 'without being asked for');
set($node);

# A hold: with its end in the error and in kms_status, once in the log, and no longer than 30 s.
make_cold($node);
my $log_before = -s $node->logfile;
sub hold_left { return status($node, 'ceil(extract(epoch FROM hold_until - now()))'); }
sub holds_logged { return scalar(() = substr(slurp_file($node->logfile), $log_before) =~ /the KMS wants no request with "vault:transit\/chat"/g); }
recover();
is(hold_left(), '', 'no hold');
$proxy->fault(path => 'transit/[^k]', %status, code => 429, retry_after => 3600);
like(failure($node, read_chat(cold())), qr/^58030 .* wants no request for now and will be asked again in (30|29) s: .*status 429/, 'a hold: the error says when it ends');
like(hold_left(), qr/^(30|29|28)$/, 'a hold: kms_status has its end, not more than 30 s ahead');
like(failure($node, read_chat(cold())), qr/^58030 .* will be asked again in (30|29|28) s: .*status 429/, 'a hold: others are told the same');
like(check($node, 'vault:transit/chat'), qr/status 429/, 'a hold: kms_check() asks at once');
like(failure($node, read_chat(cold())), qr/^58030 .* will be asked again in (30|29|28) s: .*status 429/, 'a hold: the key service may begin it anew');
is(holds_logged(), 1, 'a hold: the log has it once');
$proxy->clear;
$proxy->reset;
like(failure($node, read_chat(cold())), qr/ will be asked again in /, 'a hold: goes on though the key service would answer');
is($proxy->requests, 0, 'a hold: which is not asked');
is(check($node, 'vault:transit/chat'), 'ok', 'a hold: kms_check() finds it over');
is(hold_left(), '', 'a hold: kms_status has it no more');
$chat = cold();
is(ask($node, read_chat($chat)), "body $chat", 'a hold: and keys are unwrapped again');
$proxy->fault(path => 'decrypt', %status, code => 429, retry_after => 60, times => 1);
like(failure($node, read_chat(cold())), qr/ will be asked again in /, 'a second hold');
is(holds_logged(), 1, 'a second hold: the log has one in a minute');
set($node);
$chat = cold();
is(ask($node, read_chat($chat)), "body $chat", 'a second hold: a reload ends it');

# At its end one call goes out by itself, and the others when that is answered.
set($node, 'chatcrypt.kms_timeout' => '8s');
recover();
$proxy->fault(path => 'decrypt', %status, code => 429, retry_after => 1, times => 1);
$proxy->fault(delay_ms => 500);
my @sessions = map { session($node) } 1 .. 3;
answer($_, 'SELECT 1') foreach @sessions;
$proxy->reset;
start($sessions[0], read_chat($chat = cold()));
wait_until(5, sub { $proxy->requests('decrypt') == 1 });
start($sessions[1], 'SELECT chatcrypt.create_chat(99001)');
start($sessions[2], q{SELECT chatcrypt.import_dek(} . cold() . q{, decode(repeat('d7', 32), 'hex'), 7)});
is(outcome($sessions[0]), "body $chat", 'the end of a hold: a key is unwrapped');
unlike(outcome($_), qr/ERROR/, 'the end of a hold: another operation succeeds') foreach @sessions[1, 2];
my @times = @{ $proxy->counts->{times} };
cmp_ok($times[1] - $times[0], '>=', 0.95, 'the end of a hold: nobody asks before');
cmp_ok($times[2] - $times[1], '>=', 0.45, 'the end of a hold: one call goes out by itself');
$_->quit foreach @sessions;
set($node, 'chatcrypt.kms_timeout' => '4s');

# Retry-After counts for logins and for the look at a key, too.
$proxy->clear;
$proxy->reset;
$proxy->fault(path => 'lookup-self', %status, code => 429, retry_after => 1, times => 1);
$proxy->fault(path => 'keys/chat', %status, code => 429, retry_after => 1, times => 1);
set($node);
$chat = cold();
is(ask($node, read_chat($chat)), "body $chat", 'a busy login and a busy look at the key');
is($proxy->requests('lookup-self'), 2, 'a login is tried again once');
is($proxy->requests('keys/chat'), 2, 'and so is the key');
@times = @{ $proxy->counts->{times} };
cmp_ok($times[1] - $times[0], '>=', 0.95, 'a busy login is not tried again before its Retry-After');
cmp_ok($times[3] - $times[2], '>=', 0.95, 'a busy look at the key is not tried again before its Retry-After');
set($node, 'chatcrypt.kms_timeout' => '800ms');

# A wrong key: refused, kept nowhere, and not asked for over and over.
recover();
$chat = cold();
$proxy->fault(path => 'decrypt', fault => 'wrong_key');
like(failure($node, read_chat($chat)),
	qr/^XX001 could not unwrap .*unwrapped "vault:transit\/chat" to another key than the one that was wrapped; it was not used/,
	'a wrong key is refused');
is($proxy->requests('decrypt'), 1, 'after one request');
like(failure($node, "SELECT chatcrypt.encrypt($chat, 1, 'x')"), qr/^XX001 /, 'and seals nothing');
like(failure($node, "SELECT chatcrypt.try_decrypt(chat_id, message_id, encrypted_message) FROM chatcrypt.sealed_message WHERE chat_id = chatcrypt.to_uuid($chat)"),
	qr/^XX001 /, 'nor does try_decrypt take it for damage of the message');
my @others = map { cold() } 1 .. 5;
is(warmed(@others), '0|5|wrong key: the key service unwraps it to another key than the one that the row pins', 'many at once');
$proxy->clear;
is(ask($node, read_chat($chat)), "body $chat", 'the right one works, at once');
is(count_read($node, @others), '5', 'for all of them');

# Answers to one another's questions, and errors of one item.
recover();
@others = map { cold() } 1 .. 6;
$proxy->fault(path => 'decrypt', fault => 'shuffle', times => 1);
like(warmed(@others), qr/^\d\|[1-6]\|wrong key: [^,]*$/, 'results in another order are not believed');
is(count_read($node, @others), '6', 'and each chat has its own key');
@others = map { cold() } 1 .. 6;
$proxy->clear;
$proxy->fault(path => 'decrypt', fault => 'item_error', item => 2, error => 'told to by the test');
my ($third) = splice @others, 2, 1;
like(ask($node, q{SELECT warmed, chatcrypt.number_of(chat_id), purpose, dek_version, reason, detail FROM chatcrypt.warm_keys(ARRAY[}
		. join(', ', @others[0, 1], $third, @others[2 .. 4]) . '])'),
	qr/^0\|$third\|data\|1\|does not unwrap\|.*told to by the test.*\n5\|\|\|\|\|$/, 'one item of six is refused');
$proxy->clear;
$proxy->reset;
is(count_read($node, @others), '5', 'the other five are there');
is($proxy->requests('decrypt'), 0, 'and warm');
set($node);
is(ask($node, read_chat($third)), "body $third", 'and the one is, once it may be');

# 413: smaller and smaller calls.
recover();
$proxy->fault(path => 'decrypt', %status, code => 413, times => 2);
is(ask($node, warm(map { cold() } 1 .. 64)), '64', '413: the batch is split');
is($proxy->requests('decrypt'), 5, 'in halves, and one of these again: 64, twice 32, twice 16');
$proxy->reset;
is(ask($node, warm(map { cold() } 1 .. 32)), '32', 'the next one');
is($proxy->requests('decrypt'), 2, 'is small from the start');
set($node);
$proxy->fault(path => 'decrypt', %status, code => 413);
like(failure($node, read_chat(cold())), qr/^(F0000|55000) .*status 413/, 'one that cannot be smaller fails');
set($node);
recover();

# Sealed: the breaker opens at the first word of it, and closes when the server is back.
$bao->seal;
like(failure($node, read_chat(cold())), qr/^58030 .*(status 503: .*sealed|sealed)/i, 'a sealed server');
is(status($node, 'breaker IN ($$open$$, $$half open$$), reachable'), 't|f', 'opens the breaker at once');
$seconds = seconds(sub { like(failure($node, read_chat(cold())), qr/^58030 .*was not asked, because it did not answer before: .*sealed/i, 'with the breaker open') });
cmp_ok($seconds, '<', 1, sprintf('the next request fails at once: %.3f s', $seconds));
$bao->unseal;
$seconds = works_again($node, cold(), 20);
ok(defined $seconds, 'it works again once unsealed');
cmp_ok($seconds // 99, '<', 6, sprintf('after %.2f s', $seconds // 99));
is(status($node, 'breaker, reachable'), 'closed|t', 'and the view says so');

# One that comes and goes is in the log once a minute, and not with every breath.
make_cold($node);
$log_before = -s $node->logfile;
for (1 .. 3)
{
	$bao->seal;
	like(failure($node, read_chat(cold())), qr/^58030 /, 'sealed over and over: fails');
	$bao->unseal;
	ok(defined works_again($node, cold(), 20), 'sealed over and over: and works again');
}
my $reach_log = substr(slurp_file($node->logfile), $log_before);
is(scalar(() = $reach_log =~ /LOG:  the KMS behind the provider vault does not answer/g), 1, 'sealed over and over: one line says that it is gone');
is(scalar(() = $reach_log =~ /LOG:  the KMS behind the provider vault answers again/g), 1, 'sealed over and over: and one that it is back');

# Certificates: refused, with the reason, and no request is ever sent.
foreach my $case ([ other_name => qr/alternative certificate subject name|does not match/ ],
	[ expired => qr/certificate has expired/ ], [ self_signed => qr/self[- ]signed/ ])
{
	my ($name, $pattern) = @$case;
	recover();
	set($node);
	$proxy->certificate($name);
	$proxy->reset;
	like(failure($node, read_chat(cold())), qr/^58030 .*could not be reached: .*$pattern/, "a certificate, $name: refused");
	is($proxy->requests, 0, "a certificate, $name: no request was sent, and no token");
	like(status($node, 'last_error'), $pattern, "a certificate, $name: kms_status tells");
	$proxy->certificate('good');
}
recover();
set($node, 'chatcrypt.vault_ca_file' => '/nowhere/ca.pem');
my $no_ca_file = failure($node, read_chat(cold()));
like($no_ca_file, qr/^58030 .*the CA file that is set for it cannot be read/, 'a CA file that is not there');
unlike($no_ca_file, qr/nowhere/, 'an error about a CA file does not name its path');
set($node, 'chatcrypt.vault_ca_file' => '');
like(failure($node, read_chat(cold())), qr/^58030 .*certificate/, 'no CA file: the system\'s authorities do not know it');
set($node, 'chatcrypt.vault_ca_file' => $proxy->ca_file);
is(ask($node, read_chat(cold())), 'body ' . ($next_chat - 1), 'and the right one');

# A version of TLS that is too old is refused whatever the machine's OpenSSL would take.
my $lax = $node->basedir . '/lax.cnf';
append_to_file($lax, <<'CONF');
openssl_conf = lax
[lax]
ssl_conf = ssl
[ssl]
system_default = everything
[everything]
MinProtocol = TLSv1
CipherString = ALL:@SECLEVEL=0
CONF
{
	local $ENV{OPENSSL_CONF} = $lax;
	$node->restart;
}
$proxy->certificate('tls1_1');
$proxy->reset;
like(failure($node, read_chat(cold())), qr/^58030 .*could not be reached: .*(protocol version|unsupported protocol)/, 'TLS 1.1: refused');
is($proxy->requests, 0, 'TLS 1.1: no request was sent, and no token');
is($proxy->counts->{handshakes_failed} > 0, 1, 'TLS 1.1: it was tried');
$proxy->certificate('tls1_2');
ok(defined works_again($node, cold(), 20), 'TLS 1.2: taken');
$proxy->certificate('good');
$node->restart;
recover();

# No connection at all.
foreach my $how ('refuse', 'silent')
{
	recover();
	$proxy->listen($how);
	my $error;
	$seconds = seconds(sub { $error = failure($node, read_chat(cold())) });
	like($error, qr/^58030 /, "$how: fails");
	cmp_ok($seconds, '<', 4, sprintf('%s: in time (%.2f s of 0.8)', $how, $seconds));
	$proxy->listen('accept');
	$seconds = works_again($node, cold(), 20);
	ok(defined $seconds && $seconds < 7, sprintf('%s: and works again after %.2f s', $how, $seconds // 99));
}

# Proxies: the setting counts, and the environment does not.
{
	local $ENV{https_proxy} = 'http://127.0.0.1:1';
	local $ENV{ALL_PROXY} = 'http://127.0.0.1:1';
	$node->restart;
	is(ask($node, read_chat(cold())), 'body ' . ($next_chat - 1), 'a proxy in the environment is ignored');
}
set($node, 'chatcrypt.kms_proxy' => 'http://127.0.0.1:1');
like(failure($node, read_chat(cold())), qr/^58030 .*could not be reached/, 'one in the settings is not');
set($node, 'chatcrypt.kms_proxy' => undef);
recover();

# Nothing of all this broke anything.
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|terminated by signal|TRAP:/, 'no crash');
is(status($node, 'in_flight, waiting'), '0|0', 'nothing is left under way');
is($node->safe_psql('postgres', 'SELECT requests_pending, requests_in_flight, answers_not_collected FROM chatcrypt.kms_worker'), '0|0|0', 'nor a slot');

$node->stop;
done_testing();
