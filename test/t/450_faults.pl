# A KMS, or what stands between it and chatcrypt, may answer anything, late, or not at all: each
# case ends in a clear error in time, and never in a wrong key.
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

# Cold chats with a message each, to be used one after the other.
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

# How many keys are warmed, how many are not, and why.
sub warmed
{
	my (@chats) = @_;
	return ask($node, q{SELECT sum(warmed), count(reason), string_agg(DISTINCT reason || ': ' || detail, ',')
		FROM chatcrypt.warm_keys(ARRAY[} . join(', ', @chats) . '])');
}

# Ends the fault: a reload forgets what was remembered.
sub recover
{
	$proxy->clear;
	set($node);
	defined works_again($node, cold(), 15) or die 'does not recover';
	$proxy->reset;
	return;
}

# The fault for as long as one call lasts: the error says what happened and comes no later than the
# timeout, and the chat is unharmed when the fault is over.
sub fails
{
	my ($name, $pattern, %rule) = @_;
	my $chat = cold();
	my $error;

	recover();
	$proxy->fault(path => 'decrypt', %rule);
	my $seconds = seconds(sub { $error = failure($node, read_chat($chat)) });
	like($error, qr/^58030 could not unwrap the data key of chat .* version 1 DETAIL: .*$pattern.* HINT: See chatcrypt.kms_status(?: and chatcrypt.kms_worker)?, then retry; nothing was changed\./,
		"$name: the call fails");
	cmp_ok($seconds, '<', 4, sprintf('%s: the call fails in time (%.2f s of 0.8)', $name, $seconds));
	like(status($node, 'last_error'), qr/$pattern/, "$name: kms_status tells of the fault");
	recover();
	is(ask($node, read_chat($chat)), "body $chat", "$name: the chat is read after the fault");
	return;
}

# The fault happens once: the call is made again, and the session notices nothing.
sub survives
{
	my ($name, %rule) = @_;
	my $chat = cold();

	recover();
	$proxy->fault(path => 'decrypt', times => 1, %rule);
	is(ask($node, read_chat($chat)), "body $chat", "$name, once: the chat is read");
	is($proxy->requests('decrypt'), 2, "$name, once: one more request is made");
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

ok(wait_until(20, sub { my $poured = $proxy->counts->{endless_bytes}; return $poured < 16 * 1024 * 1024 }),
	'the endless reply was cut off');

# With time for a second attempt.
set($node, 'chatcrypt.kms_timeout' => '4s');
survives('reset', fault => 'reset');
survives('closed', fault => 'close');
survives('half a reply', fault => 'half');
survives('garbage', fault => 'garbage');
survives('500', %status, code => 500);
survives('429', %status, code => 429);

# Retry-After: the call is not made before its end, and not at all where that would be too late.
recover();
my $chat = cold();
$proxy->fault(path => 'decrypt', %status, code => 429, retry_after => 2, times => 1);
my $seconds = seconds(sub { is(ask($node, read_chat($chat)), "body $chat",
	'Retry-After: the second attempt succeeds') });
cmp_ok($seconds, '>=', 1.9, sprintf('Retry-After: the second attempt waits as long as was said: %.2f s of 2', $seconds));
recover();
$chat = cold();
$proxy->fault(path => 'decrypt', %status, code => 429, retry_after => 60, times => 1);
$seconds = seconds(sub { like(failure($node, read_chat($chat)), qr/^58030 .*status 429/,
	'Retry-After past the timeout: the call fails') });
cmp_ok($seconds, '<', 2, sprintf('Retry-After past the timeout: the call fails at once, not after the timeout: %.2f s', $seconds));
$proxy->reset;
like(failure($node, read_chat(cold())), qr/^58030 .*status 429/,
	'Retry-After past the timeout: other chats of the key fail as well');
is($proxy->requests('decrypt'), 0,
	'Retry-After past the timeout: other chats of the key make no request');
set($node);

# A hold: its end is in the error and in kms_status, it is logged once, and it lasts at most 30 s.
make_cold($node);
my $log_before = -s $node->logfile;
sub hold_left { return status($node, 'ceil(extract(epoch FROM hold_until - now()))'); }
sub holds_logged { return scalar(() = substr(slurp_file($node->logfile), $log_before) =~ /the KMS wants no request with "vault:transit\/chat"/g); }
recover();
is(hold_left(), '', 'kms_status has no hold before one begins');
$proxy->fault(path => 'transit/[^k]', %status, code => 429, retry_after => 3600);
like(failure($node, read_chat(cold())), qr/^58030 .* wants no request for now and will be asked again in (30|29) s: .*status 429/, 'a hold: the error says when it ends');
like(hold_left(), qr/^(30|29|28)$/, 'a hold: kms_status has its end, not more than 30 s ahead');
like(failure($node, read_chat(cold())), qr/^58030 .* will be asked again in (30|29|28) s: .*status 429/,
	'a hold: other chats get the same error');
like(check($node, 'vault:transit/chat'), qr/status 429/, 'a hold: kms_check() asks at once');
like(failure($node, read_chat(cold())), qr/^58030 .* will be asked again in (30|29|28) s: .*status 429/, 'a hold: the key service may begin it anew');
is(holds_logged(), 1, 'a hold: the log has it once');
$proxy->clear;
$proxy->reset;
like(failure($node, read_chat(cold())), qr/ will be asked again in /,
	'a hold: it goes on even though the key service would answer');
is($proxy->requests, 0, 'a hold: no request is made');
is(check($node, 'vault:transit/chat'), 'ok',
	'a hold: kms_check() ends it when the key service answers');
is(hold_left(), '', 'a hold: kms_status has no hold after its end');
$chat = cold();
is(ask($node, read_chat($chat)), "body $chat", 'a hold: keys are unwrapped again after its end');
$proxy->fault(path => 'decrypt', %status, code => 429, retry_after => 60, times => 1);
like(failure($node, read_chat(cold())), qr/ will be asked again in /,
	'a second hold: the error says that the KMS will be asked again');
is(holds_logged(), 1, 'a second hold: the log has one hold within a minute');
set($node);
$chat = cold();
is(ask($node, read_chat($chat)), "body $chat", 'a second hold: a reload ends it');

# At its end, one call goes out by itself, and the other calls after it is answered.
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
cmp_ok($times[1] - $times[0], '>=', 0.95, 'the end of a hold: no call goes out before it');
cmp_ok($times[2] - $times[1], '>=', 0.45, 'the end of a hold: one call goes out by itself');
$_->quit foreach @sessions;
set($node, 'chatcrypt.kms_timeout' => '4s');

# Retry-After counts for logins and for the look at a key as well.
$proxy->clear;
$proxy->reset;
$proxy->fault(path => 'lookup-self', %status, code => 429, retry_after => 1, times => 1);
$proxy->fault(path => 'keys/chat', %status, code => 429, retry_after => 1, times => 1);
set($node);
$chat = cold();
is(ask($node, read_chat($chat)), "body $chat",
	'a busy login and a busy look at the key: the chat is read');
is($proxy->requests('lookup-self'), 2, 'a busy login: it is tried again once');
is($proxy->requests('keys/chat'), 2, 'a busy look at the key: it is tried again once');
@times = @{ $proxy->counts->{times} };
cmp_ok($times[1] - $times[0], '>=', 0.95,
	'a busy login: it is not tried again before its Retry-After');
cmp_ok($times[3] - $times[2], '>=', 0.95,
	'a busy look at the key: it is not tried again before its Retry-After');
set($node, 'chatcrypt.kms_timeout' => '800ms');

# A wrong key: it is refused, kept nowhere, and not requested over and over.
recover();
$chat = cold();
$proxy->fault(path => 'decrypt', fault => 'wrong_key');
like(failure($node, read_chat($chat)),
	qr/^XX001 could not unwrap .*unwrapped "vault:transit\/chat" to another key than the one that was wrapped; it was not used/,
	'a wrong key is refused');
is($proxy->requests('decrypt'), 1, 'a wrong key: one request is made');
like(failure($node, "SELECT chatcrypt.encrypt($chat, 1, 'x')"), qr/^XX001 /,
	'a wrong key: it seals nothing');
like(failure($node, "SELECT chatcrypt.try_decrypt(chat_id, message_id, encrypted_message) FROM chatcrypt.sealed_message WHERE chat_id = chatcrypt.to_uuid($chat)"),
	qr/^XX001 /, 'a wrong key: try_decrypt does not take it for damage of the message');
my @others = map { cold() } 1 .. 5;
is(warmed(@others), '0|5|wrong key: the key service unwraps it to another key than the one that the row pins',
	'a wrong key: warm_keys() refuses many at once');
$proxy->clear;
is(ask($node, read_chat($chat)), "body $chat", 'the right key opens at once after a wrong one');
is(count_read($node, @others), '5', 'the right keys open for every chat that had a wrong one');

# Results that belong to other items, and errors of one item.
recover();
@others = map { cold() } 1 .. 6;
$proxy->fault(path => 'decrypt', fault => 'shuffle', times => 1);
like(warmed(@others), qr/^\d\|[1-6]\|wrong key: [^,]*$/,
	'results in another order: keys are refused as wrong');
is(count_read($node, @others), '6',
	'results in another order: each chat has its own key afterwards');
@others = map { cold() } 1 .. 6;
$proxy->clear;
$proxy->fault(path => 'decrypt', fault => 'item_error', item => 2, error => 'told to by the test');
my ($third) = splice @others, 2, 1;
like(ask($node, q{SELECT warmed, chatcrypt.number_of(chat_id), purpose, dek_version, reason, detail FROM chatcrypt.warm_keys(ARRAY[}
		. join(', ', @others[0, 1], $third, @others[2 .. 4]) . '])'),
	qr/^0\|$third\|data\|1\|does not unwrap\|.*told to by the test.*\n5\|\|\|\|\|$/,
		'an error of one item: one of six chats is refused');
$proxy->clear;
$proxy->reset;
is(count_read($node, @others), '5', 'an error of one item: the other five chats are read');
is($proxy->requests('decrypt'), 0, 'an error of one item: the other five chats are warm');
set($node);
is(ask($node, read_chat($third)), "body $third",
	'an error of one item: the refused chat is read after the fault');

# Status 413: batches become smaller and smaller.
recover();
$proxy->fault(path => 'decrypt', %status, code => 413, times => 2);
is(ask($node, warm(map { cold() } 1 .. 64)), '64', '413: a batch that is too large is split');
is($proxy->requests('decrypt'), 5,
	'413: the batch and one of its halves are split: requests of 64, twice 32, twice 16');
$proxy->reset;
is(ask($node, warm(map { cold() } 1 .. 32)), '32', '413: the next batch is warmed');
is($proxy->requests('decrypt'), 2, '413: the next batch is small from the start');
set($node);
$proxy->fault(path => 'decrypt', %status, code => 413);
like(failure($node, read_chat(cold())), qr/^(F0000|55000) .*status 413/,
	'413: a single item that is too large fails');
set($node);
recover();

# Sealed: the breaker opens at the first answer that says so, and closes when the server is back.
$bao->seal;
like(failure($node, read_chat(cold())), qr/^58030 .*(status 503: .*sealed|sealed)/i,
	'a sealed server: a cold chat is not read');
is(status($node, 'breaker IN ($$open$$, $$half open$$), reachable'), 't|f',
	'a sealed server: the breaker opens at once');
$seconds = seconds(sub { like(failure($node, read_chat(cold())), qr/^58030 .*was not asked, because it did not answer before: .*sealed/i,
	'a sealed server: the error with the open breaker says why') });
cmp_ok($seconds, '<', 1, sprintf('a sealed server: the next request fails at once: %.3f s', $seconds));
$bao->unseal;
$seconds = works_again($node, cold(), 20);
ok(defined $seconds, 'an unsealed server: a cold chat is read');
cmp_ok($seconds // 99, '<', 6, sprintf('an unsealed server: a cold chat is read after %.2f s', $seconds // 99));
is(status($node, 'breaker, reachable'), 'closed|t',
	'an unsealed server: kms_status shows a closed breaker');

# A server that is sealed and unsealed repeatedly is logged once a minute, and not each time.
make_cold($node);
$log_before = -s $node->logfile;
for (1 .. 3)
{
	$bao->seal;
	like(failure($node, read_chat(cold())), qr/^58030 /,
		'sealed repeatedly: a cold chat is not read');
	$bao->unseal;
	ok(defined works_again($node, cold(), 20),
		'sealed repeatedly: a cold chat is read after each unsealing');
}
my $reach_log = substr(slurp_file($node->logfile), $log_before);
is(scalar(() = $reach_log =~ /LOG:  the KMS behind the provider vault does not answer/g), 1,
	'sealed repeatedly: one line of the log says that the KMS is gone');
is(scalar(() = $reach_log =~ /LOG:  the KMS behind the provider vault answers again/g), 1,
	'sealed repeatedly: one line of the log says that the KMS is back');

# Certificates that are refused: the error has the reason, and no request is ever sent.
foreach my $case ([ other_name => qr/alternative certificate subject name|does not match/ ],
	[ expired => qr/certificate has expired/ ], [ self_signed => qr/self[- ]signed/ ])
{
	my ($name, $pattern) = @$case;
	recover();
	set($node);
	$proxy->certificate($name);
	$proxy->reset;
	like(failure($node, read_chat(cold())), qr/^58030 .*could not be reached: .*$pattern/,
		"a certificate, $name: it is refused");
	is($proxy->requests, 0, "a certificate, $name: no request was sent, and no token");
	like(status($node, 'last_error'), $pattern, "a certificate, $name: kms_status tells why");
	$proxy->certificate('good');
}
recover();
set($node, 'chatcrypt.vault_ca_file' => '/nowhere/ca.pem');
my $no_ca_file = failure($node, read_chat(cold()));
like($no_ca_file, qr/^58030 .*the CA file that is set for it cannot be read/,
	'a CA file that does not exist raises an error');
unlike($no_ca_file, qr/nowhere/, 'an error about a CA file does not name its path');
set($node, 'chatcrypt.vault_ca_file' => '');
like(failure($node, read_chat(cold())), qr/^58030 .*certificate/,
	'no CA file: the authorities of the system do not know the server');
set($node, 'chatcrypt.vault_ca_file' => $proxy->ca_file);
is(ask($node, read_chat(cold())), 'body ' . ($next_chat - 1),
	'the right CA file: a cold chat is read');

# A version of TLS that is too old is refused, whatever OpenSSL on the machine would accept.
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
like(failure($node, read_chat(cold())), qr/^58030 .*could not be reached: .*(protocol version|unsupported protocol)/,
	'TLS 1.1: it is refused');
is($proxy->requests, 0, 'TLS 1.1: no request was sent, and no token');
is($proxy->counts->{handshakes_failed} > 0, 1, 'TLS 1.1: a handshake was tried');
$proxy->certificate('tls1_2');
ok(defined works_again($node, cold(), 20), 'TLS 1.2: it is accepted');
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
	like($error, qr/^58030 /, "$how: a cold chat is not read");
	cmp_ok($seconds, '<', 4, sprintf('%s: the call fails in time (%.2f s of 0.8)', $how, $seconds));
	$proxy->listen('accept');
	$seconds = works_again($node, cold(), 20);
	ok(defined $seconds && $seconds < 7, sprintf('%s: a cold chat is read again after %.2f s', $how, $seconds // 99));
}

# Proxies: the setting counts; variables of the environment do not.
{
	local $ENV{https_proxy} = 'http://127.0.0.1:1';
	local $ENV{ALL_PROXY} = 'http://127.0.0.1:1';
	$node->restart;
	is(ask($node, read_chat(cold())), 'body ' . ($next_chat - 1), 'a proxy in the environment is ignored');
}
set($node, 'chatcrypt.kms_proxy' => 'http://127.0.0.1:1');
like(failure($node, read_chat(cold())), qr/^58030 .*could not be reached/,
	'a proxy in the settings is used');
set($node, 'chatcrypt.kms_proxy' => undef);
recover();

# None of these faults broke anything.
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|terminated by signal|TRAP:/, 'the log has no crash');
is(status($node, 'in_flight, waiting'), '0|0', 'no call is left in flight or waiting');
is($node->safe_psql('postgres', 'SELECT requests_pending, requests_in_flight, answers_not_collected FROM chatcrypt.kms_worker'), '0|0|0',
	'no slot of the worker is left in use');

$node->stop;
done_testing();
