# What the views say of each KMS key, in states that are really produced: whether it can be used and
# why not, how calls ended, how old its properties are, and when the certificate expires.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until write_secret);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('kms_state', bao => $bao, proxy => $proxy, conf => "chatcrypt.kms_timeout = '2s'\n");
my $key = $bao->kms_key;
my $other = 'vault:transit/other';
my $usable = q{usable || coalesce(': ' || unusable_because, '')};
my $next_chat = 1;

sub cold { return $next_chat++; }

# The policy without some of its rights.
sub take_away
{
	my (@paths) = @_;
	my $policy = $bao->policy('chat', 'other');
	$policy =~ s/^path "transit\/\Q$_\E\/.*\n//mg foreach @paths;
	$bao->cli('policy', 'write', 'chatcrypt', '-', \$policy);
	return;
}

sub give_back { return take_away(); }

sub soon
{
	my ($columns, $pattern, $uri) = @_;
	return wait_until(10, sub { status($node, $columns, $uri) =~ $pattern });
}

# Calls and items of kms_calls, compared with the requests and items that the proxy has seen since
# the worker started.
my %paths = (unwrap => '/decrypt/chat$', generate => '/datakey/plaintext/chat$', rewrap => '/rewrap/chat$', key => 'GET .*/keys/chat$');

sub counted
{
	my ($what, $operation) = @_;
	return $node->safe_psql('postgres', "SELECT coalesce(sum($what), 0) FROM chatcrypt.kms_calls WHERE kms_key IN ('$key', 'vault:') AND operation = '$operation'");
}

sub all_is_counted
{
	my ($name) = @_;
	is(counted('calls', $_), $proxy->requests($paths{$_}), "$name: every call of $_ is counted") foreach sort keys %paths;
	is(counted('items', $_), $proxy->items($paths{$_}), "$name: every item of $_ is counted") foreach qw(unwrap rewrap);
	is(counted('calls', 'login'), $proxy->requests('/auth/'), "$name: every step of the login is counted");
	is($node->safe_psql('postgres', "SELECT (SELECT sum(calls) FROM chatcrypt.kms_calls WHERE kms_key = '$key')
		= (SELECT calls FROM chatcrypt.kms_status WHERE kms_key = '$key')"), 't',
		"$name: kms_status and kms_calls have the same number of calls");
	return;
}

# Before and after a key is used.
is(status($node, 'usable IS NULL, unusable_because IS NULL, calls, last_outcome IS NULL, certificate_not_after IS NULL'), 't|t|0|t|t',
	'a key that was not used: nothing is known');
make_chats($node, 1, 300);
is(status($node, $usable), 'true', 'a key in use can be used');
is(status($node, 'last_outcome, refused_until IS NULL, facts_error IS NULL'), 'ok|t|t',
	'a key in use has no refusal and no error');
like(status($node, 'last_request_id'), qr/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
	'the last request of a key in use has the id that the KMS gave it');
is(status($node, q{facts_at BETWEEN now() - interval '1 min' AND now()}), 't',
	'the properties of a key in use are fresh');
my $expiry = status($node, 'certificate_not_after');
is(status($node, q{certificate_not_after BETWEEN now() + interval '29 days' AND now() + interval '30 days'}), 't',
	'the certificate of the KMS is good for a month');

# Counters are exact, whatever happens to calls.
make_cold($node);
$proxy->reset;
is(count_read($node, map { cold() } 1 .. 20), 20, '20 cold chats are read');
$node->safe_psql('postgres', q{SELECT count(*) FROM chatcrypt.warm_keys(ARRAY(SELECT n FROM generate_series(250, 300) AS n))});
$proxy->fault(path => 'decrypt', fault => 'status', code => 500, times => 1);
$proxy->fault(path => 'datakey', fault => 'garbage', times => 1);
is(failure($node, read_chat(cold())), '', 'a call that fails with status 500 is made again');
$proxy->fault(path => 'decrypt', fault => 'status', code => 413, times => 1);
$node->safe_psql('postgres', q{SELECT count(*) FROM chatcrypt.warm_keys(ARRAY(SELECT n FROM generate_series(200, 240) AS n))});
is(failure($node, 'SELECT chatcrypt.create_chat()'), '',
	'a call that has a bad reply is made again');
$node->safe_psql('postgres', 'CALL chatcrypt.rewrap(max_keys => 3)');
is(check($node, $key), 'ok', 'kms_check() finds nothing wrong');
ok(wait_until(5, sub { counted('calls', 'key') == $proxy->requests($paths{key}) }),
	'every look at the key has ended');
all_is_counted('with faults');
is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT outcome, ', ' ORDER BY outcome) FROM chatcrypt.kms_calls WHERE operation = 'unwrap' AND kms_key = '$key'"),
	'not opened, ok, too large, transient', 'calls of unwrap are counted by their outcome');
is($node->safe_psql('postgres', "SELECT outcome, calls FROM chatcrypt.kms_calls WHERE operation = 'generate' AND outcome <> 'ok'"), 'bad reply|1',
	'calls of generate are counted by their outcome');
is($node->safe_psql('postgres', "SELECT sum(l.calls) = (SELECT sum(calls) FROM chatcrypt.kms_calls
		WHERE kms_key = '$key' AND operation <> 'key' AND outcome NOT IN ('transient', 'bad reply'))
	FROM chatcrypt.kms_latency AS l WHERE kms_key = '$key'"), 't',
		'every call that was answered is in a histogram');
is($node->safe_psql('postgres', "SELECT bool_and(calls > 0 AND counts[19] = calls AND seconds > 0 AND seconds < 100) FROM chatcrypt.kms_latency WHERE kms_key = '$key'"), 't',
	'histograms hold single calls and batches');

# A missing right: the view says so by operation, also after the refusal is forgotten, until the
# right is given back.
take_away('decrypt');
like(failure($node, read_chat(cold())), qr/^28000 .*status 403/, 'without decrypt: a cold chat is not read');
like(status($node, $usable), qr/^false: the key service denies unwrap: .*status 403/, 'without decrypt: the view says so');
is(status($node, q{last_outcome, refused_until BETWEEN now() + interval '25 s' AND now() + interval '30 s'}), 'denied|t',
	'without decrypt: the view says for how long nothing is requested');
like(check($node, $key), qr/^unwrap it: .*status 403/, 'without decrypt: kms_check() reports it');
like(status($node, "refused_until IS NULL, $usable"), qr/^t\|false: the key service denies unwrap: /,
	'without decrypt: the key is still unusable when the refusal is forgotten');
take_away('decrypt', 'rewrap');
like(check($node, $key), qr/^unwrap it: .*status 403/,
	'without decrypt and rewrap: kms_check() reports it');
like(status($node, $usable), qr/^false: the key service denies unwrap and rewrap: /,
	'without decrypt and rewrap: the view names both');
give_back();
my $chat = cold();
is(ask($node, read_chat($chat)), "body $chat", 'decrypt given back: a cold chat is read');
like(status($node, $usable), qr/^false: the key service denies rewrap: /,
	'decrypt given back: the view still names rewrap, which was not tried since');
is(check($node, $key), 'ok', 'all rights given back: kms_check() succeeds');
is(status($node, $usable), 'true', 'all rights given back: the view says that the key can be used');

# The properties of a key are read again at once after kms_check() and after a reload, and in any
# case about once a minute.
my $before = status($node, 'facts_at');
$bao->cli('write', '-f', 'transit/keys/chat/rotate');
is(check($node, $key), 'ok', 'a new version: kms_check() succeeds');
ok(soon('key_latest_version', qr/^2$/), 'a new version: the view has it after kms_check()');
cmp_ok(status($node, 'facts_at'), 'gt', $before,
	'a new version: the view has the time of the last look');
$bao->cli('write', '-f', 'transit/keys/chat/rotate');
set($node);
ok(soon('key_latest_version', qr/^3$/), 'a new version: the view has it after a reload');

# Without any call, and then while the right to read the properties is taken away.
$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=2');
$proxy->reset;
is($proxy->requests, 0, 'a minimum version: no request is made before the next look');
ok(wait_until(75, sub { status($node, 'key_min_decryption_version') eq '2' }),
	'a minimum version: the view has it within about a minute');
is($proxy->requests, $proxy->requests($paths{key}),
	'a minimum version: all requests are looks at the key');
cmp_ok($proxy->requests, '<=', 2, 'a minimum version: at most two looks are made');
like(failure($node, read_chat(cold())), qr/^55000 /,
	'a minimum version: an older wrapped key does not open');
is(status($node, $usable), 'true', 'a minimum version: the key can be used');
is($node->safe_psql('postgres', "SELECT sum(items) FROM chatcrypt.kms_calls WHERE operation = 'unwrap' AND outcome = 'rejected'"), 1,
	'a minimum version: an older wrapped key is counted as rejected');
$bao->cli('write', 'transit/keys/chat/config', 'min_decryption_version=1');
set($node);
take_away('keys');
$proxy->reset;
is(check($node, $key), 'ok', 'without the right to look: kms_check() succeeds');
$proxy->reset;
is(check($node, $key), 'ok', 'without the right to look: kms_check() succeeds again');
ok(soon('facts_error', qr/status 403: the policy of the login must allow read on transit\/keys\/chat/), 'without the right to look: the view says so');
is(status($node, $usable), 'true', 'without the right to look: the key can be used');
is(status($node, q{key_latest_version, facts_at < now()}), '3|t',
	'without the right to look: the view keeps the last known version');
is($proxy->requests('/auth/'), 0, 'without the right to look: no new login is made');
$chat = cold();
is(ask($node, read_chat($chat)), "body $chat", 'without the right to look: a cold chat is read');
unlike(status($node, 'last_error'), qr/must allow read/, 'without the right to look: the last error is not about that right');
give_back();
is(check($node, $key), 'ok', 'the right to look given back: kms_check() succeeds');
ok(soon('facts_error IS NULL', qr/^t$/), 'the right to look given back: the view has no error');

# A key that may not be used any more, and a key that was deleted.
$bao->add_key('other');
$node->safe_psql('postgres', "SELECT chatcrypt.create_tenant('other', '$other')");
is(check($node, $other), 'ok', 'another key: kms_check() succeeds');
is(status($node, $usable, $other), 'true', 'another key can be used');
$bao->cli('write', 'transit/keys/other/config', 'exportable=true');
is(check($node, $other), 'ok', 'a key that has become exportable: kms_check() still succeeds');
ok(soon($usable, qr/^false: the key would be refused after a restart or reload: .*exportable/, $other), 'a key that has become exportable: the view warns');
is(check($node, $other), 'ok',
	'a key that has become exportable: kms_check() succeeds after the warning');
set($node);
like(check($node, $other), qr/^make a data key: .*exportable/,
	'a key that has become exportable: kms_check() is refused after a reload');
like(status($node, $usable, $other), qr/^false: the key must not be used: .*exportable/,
	'a key that has become exportable: the view says after a reload that it must not be used');
my $gone = $bao->add_key('gone');
$node->safe_psql('postgres', "SELECT chatcrypt.create_tenant('gone', '$gone')");
$bao->cli('write', 'transit/keys/gone/config', 'deletion_allowed=true');
is(check($node, $gone), 'ok', 'a third key: kms_check() succeeds');
$bao->cli('delete', 'transit/keys/gone');
like(check($node, $gone), qr/^make a data key: .*encryption key not found/,
	'a key that was deleted: kms_check() reports it');
like(status($node, $usable, $gone), qr/^false: the key service has no such key: ./, 'a key that was deleted: the view says so');
is(status($node, $usable), 'true', 'a key that was deleted: the first key can still be used');
$bao->cli('write', '-f', 'transit/keys/gone', 'derived=true');
is(check($node, $gone), 'ok', 'a key that was deleted and made anew: kms_check() succeeds');
ok(soon($usable, qr/^true$/, $gone), 'a key that was deleted and made anew: it can be used');

# A hold.
$proxy->fault(path => 'transit/[^k]', fault => 'status', code => 429, retry_after => 20);
like(failure($node, read_chat(cold())), qr/^58030 .* will be asked again in /,
	'a hold: the error says when the KMS will be asked again');
like(status($node, $usable), qr/^false: the key service wants no request for (20|19|18) s: .*status 429/, 'a hold: the view says for how long');
is(status($node, q{last_outcome, hold_until > now(), refused_until IS NULL}), 'transient|t|t', 'a hold: the view shows no refusal');
$proxy->clear;
is(check($node, $key), 'ok', 'the end of a hold: kms_check() succeeds');
is(status($node, $usable), 'true', 'the end of a hold: the key can be used');

# The KMS is sealed, or does not listen.
$bao->seal;
like(failure($node, read_chat(cold())), qr/^58030 .*sealed/, 'sealed: the error says so');
like(status($node, $usable), qr/^false: the key service does not answer: .*sealed/, 'sealed: the view says so');
$bao->unseal;
ok(soon($usable, qr/^true$/), 'unsealed: the view says so without any request');
$proxy->listen('refuse');
like(failure($node, read_chat(cold())), qr/^58030 /, 'away: a cold chat is not read');
ok(soon($usable, qr/^false: .*could not be reached/), 'away: the view says so');
$proxy->listen('accept');
ok(soon($usable, qr/^true$/), 'back: the view says so without any request');

# Certificates: the next handshake shows the certificate, also where the handshake fails.
sub handshake
{
	my ($name) = @_;
	$proxy->certificate($name);
	set($node);
	return failure($node, read_chat(cold()));
}
my $until = q{round(extract(epoch FROM certificate_not_after - now()) / 86400)};
is(handshake('ending'), '', 'a certificate near its end is accepted');
is(status($node, $until), '2', 'a certificate near its end: the view says when it ends');
is(handshake('ending_authority'), '', 'a certificate whose authority is near its end is accepted');
is(status($node, $until), '3',
	'a certificate whose authority is near its end: the view says when the authority ends');
like(handshake('expired'), qr/certificate has expired/, 'a certificate that has expired is refused');
is(status($node, q{certificate_not_after < now()}), 't',
	'a certificate that has expired: the view says that it has');
like(status($node, $usable), qr/^false: .*certificate has expired/,
	'a certificate that has expired: the view says that the key cannot be used');
is(handshake('good'), '', 'a new certificate is accepted');
is(status($node, 'certificate_not_after'), $expiry,
	'a new certificate: the view says when it ends');
like(handshake('other_ca'), qr/could not be reached: .*certificate/, 'an impostor is refused');
is(status($node, 'certificate_not_after'), $expiry,
	'an impostor: the view does not show the end of its certificate');
$proxy->certificate('good');
ok(soon($usable, qr/^true$/), 'the right certificate again: the key can be used');

# The login, and settings.
my $token = slurp_file($bao->token_file);
write_secret($bao->token_file, 'hvs.wrong');
set($node);
like(failure($node, read_chat(cold())), qr/^28000 /,
	'a login that is refused: a cold chat is not read');
like(status($node, $usable), qr/^false: the login is refused: the look-up of the token .*status 403/, 'a login that is refused: the view says so');
is(status($node, 'refused_until > now()'), 't',
	'a login that is refused: the view says until when');
cmp_ok($node->safe_psql('postgres', q{SELECT calls FROM chatcrypt.kms_calls WHERE kms_key = 'vault:' AND operation = 'login' AND outcome = 'denied'}), '>=', 1,
	'a login that is refused: it is counted');
write_secret($bao->token_file, $token);
is(check($node, $key), 'ok', 'a login that works again: kms_check() succeeds');
is(status($node, $usable), 'true',
	'a login that works again: the view says that the key can be used');
set($node, 'chatcrypt.vault_addr' => '');
like(failure($node, read_chat(cold())), qr/^F0000 /,
	'settings that cannot be used: a cold chat is not read');
like(status($node, $usable), qr/^false: the key service is not set up correctly: chatcrypt.vault_addr is not set/, 'settings that cannot be used: the view says so');
set($node, 'chatcrypt.vault_addr' => $proxy->address);
$chat = cold();
is(ask($node, read_chat($chat)), "body $chat", 'corrected settings: a cold chat is read');
is(status($node, $usable), 'true', 'corrected settings: the view says that the key can be used');

# While the worker does not move, no key can be used.
my $pid = worker_pid($node);
kill 'STOP', $pid;
ok(soon($usable, qr/^false: the KMS worker does not move$/), 'a worker that is stopped: no key can be used');
kill 'CONT', $pid;
ok(soon($usable, qr/^true$/), 'a worker that moves again: the key can be used');

# Warm keys last until chatcrypt.cache_max_age; the keys that were loaded first are lost first.
sub cache { return $node->safe_psql('postgres', "SELECT $_[0] FROM chatcrypt.cache_status"); }
set($node, 'chatcrypt.cache_max_age' => '1h');
make_cold($node);
is(cache('warm_until IS NULL AND half_warm_until IS NULL AND all_cold_at IS NULL'), 't',
	'an empty cache has no times of its end');
is(count_read($node, 100 .. 109), 10, 'ten keys are loaded into the cache');
sleep(8);
is(count_read($node, 110 .. 149), 40, 'forty more keys are loaded into the cache');
like(cache(q{round(extract(epoch FROM now() + interval '1h' - warm_until))}), qr/^(8|9|1\d)$/,
	'warm_until: the first key is lost an hour after it was loaded');
cmp_ok(cache(q{extract(epoch FROM all_cold_at - warm_until)}), '>=', 7.9,
	'all_cold_at: the last key is lost an hour after it was loaded');
cmp_ok(cache(q{extract(epoch FROM all_cold_at - half_warm_until)}), '<=', 4,
	'half_warm_until: half of the keys are lost when expected, to a thousandth of the age');
set($node, 'chatcrypt.cache_max_age' => '1s');
sleep(1.1);
is(cache('warm_until IS NULL AND half_warm_until IS NULL AND all_cold_at IS NULL'), 't', 'keys past their age are not warm');

# Many data keys of few KMS keys: the view looks into an index once for each KMS key.
$node->safe_psql('postgres', <<'SQL');
INSERT INTO chatcrypt.tenant (tenant) VALUES ('many');
INSERT INTO chatcrypt.chat (chat_id, tenant) SELECT chatcrypt.to_uuid(n), 'many' FROM generate_series(1000001, 1100000) AS n;
INSERT INTO chatcrypt.dek (chat_id, purpose, dek_version, state, kms_key, encrypted_dek, kcv)
	SELECT chatcrypt.to_uuid(n), 'data', 1, 'active', 'local:many' || n % 5, '\x01', sha256('\x') FROM generate_series(1000001, 1100000) AS n;
SQL
foreach my $analyzed (0, 1)
{
	$node->safe_psql('postgres', 'ANALYZE chatcrypt.dek') if $analyzed;
	my $plan = $node->safe_psql('postgres', 'EXPLAIN (ANALYZE, BUFFERS, TIMING off) SELECT * FROM chatcrypt.kms_status');
	unlike($plan, qr/Seq Scan on dek/, 'with 100,000 data keys: the view does not scan them');
	my ($hit) = $plan =~ /Buffers: shared hit=(\d+)/;
	cmp_ok($hit // 9999, '<', 200, 'with 100,000 data keys: the view reads few pages');
}
my $seconds = seconds(sub { $node->safe_psql('postgres', 'SET ROLE chatcrypt_auditor; ' . 'SELECT count(*) FROM chatcrypt.kms_status; ' x 100) })
  - seconds(sub { $node->safe_psql('postgres', 'SET ROLE chatcrypt_auditor; ' . 'SELECT 1; ' x 100) });
note(sprintf('with 100,000 data keys: %.2f ms', $seconds * 10));
is($node->safe_psql('postgres', q{SET ROLE chatcrypt_auditor; SELECT count(*) FROM chatcrypt.kms_status WHERE kms_key LIKE 'local:many%' AND usable IS NULL}), '5',
	'with 100,000 data keys: an auditor sees each of their KMS keys');

$node->stop;
done_testing();
