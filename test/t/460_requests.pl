# How backends ask the KMS and wait for it: one flight for a key, batches of several flights, an end
# of the wait as soon as it is called for, and an outage that affects only cold keys.  Times are
# measured and printed; what is asserted of them leaves room for a busy machine.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('requests', bao => $bao, proxy => $proxy);
my $next_chat = 1;
my $folder = PostgreSQL::Test::Utils::tempdir();

make_chats($node, 1, 400);
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chats(array_agg(n)) FROM generate_series(100001::bigint, 110000) AS n');
make_chats($node, 200001, 201000);
make_chats($node, 300001, 300800);
make_chats($node, 400001, 400400);
make_cold($node);
$proxy->reset;

sub cold { return $next_chat++; }
sub measured { my ($format, @values) = @_; note(sprintf "measured: $format", @values); return; }

# The report of pgbench for a script; dies where pgbench cannot run at all.
sub pgbench
{
	my ($script, @options) = @_;
	my ($output, $error) = ('', '');
	my $file = "$folder/script.sql";
	append_to_file($file, '');
	open my $out, '>', $file or die "$file: $!";
	print $out $script;
	close $out or die "$file: $!";
	IPC::Run::run([ 'pgbench', '--no-vacuum', "--file=$file", @options, '--host', $node->host, '--port', $node->port, 'postgres' ],
		'>', \$output, '2>', \$error);
	die "pgbench: $error" if $output eq '';
	return $output;
}

sub slots
{
	return $node->safe_psql('postgres',
		'SELECT requests_pending, requests_in_flight, answers_not_collected FROM chatcrypt.kms_worker');
}

# 32 sessions at once, one key.
my $chat = cold();
$proxy->fault(path => 'decrypt', delay_ms => 600);
my $joined = $node->safe_psql('postgres', 'SELECT joined FROM chatcrypt.kms_worker');
my $report = pgbench(read_chat($chat) . ";\n", '--client=32', '--jobs=2', '--transactions=1');
like($report, qr{transactions actually processed: 32/32}, '32 sessions ask for one cold key at once');
is($proxy->requests('decrypt'), 1, '32 sessions share one request for a cold key');
is($proxy->items('decrypt'), 1, 'the shared request has one key');
$joined = $node->safe_psql('postgres', 'SELECT joined FROM chatcrypt.kms_worker') - $joined;
cmp_ok($joined, '>=', 16, "most of the 32 sessions joined a flight: $joined of 31");
$proxy->clear;
$proxy->reset;
is(ask($node, read_chat($chat)), "body $chat", 'a new connection reads the chat');
is($proxy->requests, 0, 'a new connection makes no call for a warm key');

# 10,000 cold chats.
my $seconds = seconds(sub {
	is(ask($node, 'SELECT (chatcrypt.warm_keys(array_agg(n))).warmed FROM generate_series(100001::bigint, 110000) AS n'), '10000', 'warm_keys() for 10,000 chats');
});
cmp_ok($proxy->requests('decrypt'), '<=', 10000 / 64,
	'warm_keys() for 10,000 chats makes at most one request for 64 of them');
is($proxy->items('decrypt'), 10000, 'warm_keys() for 10,000 chats asks for each key once');
cmp_ok($proxy->counts->{concurrent}, '<=', 8,
	'warm_keys() makes no more than kms_max_inflight requests at a time');
measured('10,000 cold chats through warm_keys(): %d requests, %.2f s', $proxy->requests('decrypt'), $seconds);
$proxy->reset;
is(ask($node, 'SELECT (chatcrypt.warm_keys(array_agg(n))).warmed FROM generate_series(100001::bigint, 110000) AS n'), '0', 'warm chats are not warmed again');
is($proxy->requests, 0, 'warm_keys() for warm chats makes no request');

# A plain scan over cold chats: one key after the other.
my $scan = q{SELECT count(*), count(body) FROM chatcrypt.messages WHERE chat_id BETWEEN chatcrypt.to_uuid(200001) AND chatcrypt.to_uuid(201000)};
$seconds = seconds(sub { is(ask($node, $scan), '1000|1000', 'a plain scan over 1,000 cold chats') });
is($proxy->requests('decrypt'), 1000, 'a plain scan over 1,000 cold chats makes 1,000 requests');
cmp_ok($proxy->counts->{connections}, '<=', 2, 'a plain scan over cold chats keeps its connection');
measured('a plain scan over 1,000 cold chats: %.2f s, %.2f ms a chat; kms_status says p50 %s ms, p99 %s ms', $seconds, $seconds,
	split /\|/, status($node, 'round(latency_p50_ms::numeric, 1), round(latency_p99_ms::numeric, 1)'));
$seconds = seconds(sub { is(ask($node, $scan), '1000|1000',
	'a plain scan over 1,000 warm chats') });
measured('the same scan, warm, in a new session: %.3f s with the connection', $seconds);

set($node, 'chatcrypt.kms_batch_delay' => '0');
make_cold($node);
$seconds = seconds(sub { is(ask($node, $scan), '1000|1000',
	'a plain scan over 1,000 cold chats without a batch delay') });
measured('a plain scan over 1,000 cold chats, kms_batch_delay 0: %.2f s, %.2f ms a chat', $seconds, $seconds);
set($node, 'chatcrypt.kms_batch_delay' => undef);
make_cold($node);

# Eight sessions that miss a key at the same time share batches.
$proxy->reset;
$report = pgbench(<<'SQL', '--client=8', '--jobs=2', '--transactions=1');
\set first 300001 + :client_id * 100
SELECT count(*) FROM (SELECT n, chatcrypt.to_uuid(n) AS chat_id FROM generate_series(:first, :first + 99) AS n OFFSET 0) AS c
WHERE (SELECT body FROM chatcrypt.messages AS m WHERE m.chat_id = c.chat_id) = 'body ' || n;
SQL
like($report, qr{transactions actually processed: 8/8}, 'eight sessions read 100 cold chats each');
is($proxy->items('decrypt'), 800, 'eight sessions with 100 cold chats each ask for 800 keys');
cmp_ok($proxy->requests('decrypt'), '<=', 400, 'eight sessions share requests in batches');
measured('8 sessions, 100 cold chats each: %d requests, %.1f keys in each', $proxy->requests('decrypt'), 800 / $proxy->requests('decrypt'));

# A wait that is ended from outside ends at once, and leaves nothing behind.
my $session = session($node);
my $pid = answer($session, 'SELECT pg_backend_pid()');
$proxy->fault(path => 'decrypt', delay_ms => 1000);
answer($session, "SET statement_timeout = '200ms'");
my $slow = read_chat(cold());
$seconds = seconds(sub { like(answer($session, $slow), qr/^ERROR:  canceling statement due to statement timeout/, 'statement_timeout ends the wait') });
measured('statement_timeout of 200 ms with a KMS that takes 1 s: %.0f ms', $seconds * 1000);
cmp_ok($seconds, '>=', 0.19, 'statement_timeout does not end the wait before it is due');
cmp_ok($seconds, '<', 0.8, 'statement_timeout ends the wait soon after it is due');
answer($session, 'RESET statement_timeout');

# Measured by the server: from the call until the session is idle, or gone.
sub end_with
{
	my ($function) = @_;
	my $waiting = read_chat(cold());

	$session->query_until(qr/begun/, "\\echo begun\n$waiting;\n");
	wait_until(10, sub { slots() =~ /^0\|[1-9]/ }) or die 'does not ask';
	my ($type, $event) = split /\|/, $node->safe_psql('postgres', "SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = $pid");
	like("$type $event", qr/^Extension (ChatcryptKms|Extension)$/,
		'the wait event of a session that waits names the KMS');
	return $node->safe_psql('postgres', <<"SQL");
DO \$\$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	PERFORM $function($pid);
	LOOP
		PERFORM pg_stat_clear_snapshot();
		EXIT WHEN NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND state = 'active') OR clock_timestamp() > start + interval '5 s';
		PERFORM pg_sleep(0.001);
	END LOOP;
	PERFORM set_config('my.ms', (extract(epoch FROM clock_timestamp() - start) * 1000)::numeric(9, 1)::text, false);
END
\$\$;
SELECT current_setting('my.ms');
SQL
}

my $ms = end_with('pg_cancel_backend');
measured('pg_cancel_backend: %.1f ms', $ms);
cmp_ok($ms, '<', 600, 'pg_cancel_backend ends the wait');
is($session->query('SELECT 1'), '1', 'a session whose wait was canceled goes on');
ok(wait_until(10, sub { slots() eq '0|0|0' }), 'a canceled wait leaves nothing in the slots');
$ms = end_with('pg_terminate_backend');
measured('pg_terminate_backend: %.1f ms', $ms);
cmp_ok($ms, '<', 600, 'pg_terminate_backend ends the wait');
ok(wait_until(10, sub { slots() eq '0|0|0' }), 'a terminated session leaves nothing in the slots');
eval { $session->quit };
my ($out, $errors);
$node->psql('postgres', "SET statement_timeout = '200ms'; SELECT (chatcrypt.warm_keys(array_agg(n))).warmed FROM generate_series(400001::bigint, 400400) AS n", stderr => \$errors);
like($errors, qr/statement timeout/, 'statement_timeout ends the wait for hundreds of keys');
ok(wait_until(10, sub { slots() eq '0|0|0' }),
	'a wait for hundreds of keys leaves nothing in the slots');
$proxy->clear;
$proxy->reset;
$next_chat = 1;
is(count_read($node, map { cold() } 1 .. 10), '10', 'chats are read after waits were ended');

# Refresh ahead: no session waits for it.
set($node, 'chatcrypt.cache_ttl' => '1s');
$proxy->reset;
$proxy->fault(path => 'decrypt', delay_ms => 500);
my ($longest, $reads) = split /\|/, $node->safe_psql('postgres', <<'SQL');
DO $$
DECLARE
	start timestamptz := clock_timestamp();
	before timestamptz;
	longest interval := '0';
	reads integer := 0;
BEGIN
	WHILE clock_timestamp() < start + interval '4 s' LOOP
		before := clock_timestamp();
		PERFORM body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(2);
		longest := greatest(longest, clock_timestamp() - before);
		reads := reads + 1;
		PERFORM pg_sleep(0.005);
	END LOOP;
	PERFORM set_config('my.longest', (extract(epoch FROM longest) * 1000)::numeric(9, 1)::text, false), set_config('my.reads', reads::text, false);
END
$$;
SELECT current_setting('my.longest'), current_setting('my.reads');
SQL
my $refreshes = $proxy->requests('decrypt');
cmp_ok($refreshes, '>=', 2, "a key in use is refreshed: $refreshes times in 4 s of cache_ttl 1 s");
cmp_ok($refreshes, '<=', 5, 'a key in use is refreshed no more often than its cache_ttl asks for');
measured('%d reads in these 4 s, the longest %.1f ms, with a KMS that takes 500 ms', $reads, $longest);
cmp_ok($longest, '<', 400, 'no session waited for the refresh');
$proxy->clear;
set($node, 'chatcrypt.cache_ttl' => undef);

# The KMS does not listen.
my $worker = worker_pid($node);
is(count_read($node, 1 .. 10), '10', 'ten chats are warm');
$node->safe_psql('postgres', 'CREATE TABLE plain (id integer PRIMARY KEY, t text); INSERT INTO plain SELECT g, g::text FROM generate_series(1, 10000) AS g');
my $plain = "\\set id random(1, 10000)\nSELECT t FROM plain WHERE id = :id;\n";
sub plain_tps { return pgbench($plain, '--client=1', '--time=2') =~ /tps = ([0-9.]+)/ ? $1 : die 'no tps'; }
my @before = map { plain_tps() } 1 .. 2;

set($node, 'chatcrypt.kms_timeout' => '2s');
$proxy->listen('refuse');
is(count_read($node, 1 .. 10), '10', 'without a KMS: warm chats are read');
is(ask($node, 'SELECT chatcrypt.decrypt(3, 1, chatcrypt.encrypt(3, 1, $$x$$))'), 'x',
	'without a KMS: a warm chat seals and opens');
my $error;
$seconds = seconds(sub { $error = failure($node, read_chat(300)) });
like($error, qr/^58030 .*could not be reached/, 'without a KMS: a cold chat is not read');
measured('a cold key, KMS gone, kms_timeout 2 s: %.2f s', $seconds);
cmp_ok($seconds, '<', 4, 'without a KMS: a cold chat fails within kms_timeout');
my @failures = map { seconds(sub { $error = failure($node, read_chat(300)) }) } 1 .. 9;
like($error, qr/^58030 .*was not asked, because it did not answer before: /,
	'without a KMS: the breaker is open after failures');
measured('the next ones: median %.0f ms, with psql\'s start', median(@failures) * 1000);
cmp_ok(median(@failures), '<', 0.5, 'without a KMS: requests with an open breaker fail at once');
is(status($node, 'reachable, breaker IN ($$open$$, $$half open$$)'), 'f|t',
	'without a KMS: kms_status shows an open breaker');

my $cpu = worker_cpu($node);
my $noise = session($node);
$noise->query_until(qr/begun/, <<'SQL');
\echo begun
DO $$
DECLARE
	failed integer := 0;
	until timestamptz := clock_timestamp() + interval '4.5 s';
BEGIN
	WHILE clock_timestamp() < until LOOP
		BEGIN
			PERFORM body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(301);
		EXCEPTION WHEN io_error THEN
			failed := failed + 1;
		END;
		PERFORM pg_sleep(0.02);
	END LOOP;
	PERFORM set_config('my.failed', failed::text, false);
END
$$;
SQL
my @during = map { plain_tps() } 1 .. 2;
my ($failed) = $noise->query("SELECT current_setting('my.failed')") =~ /(\d+)\s*\z/;
$noise->quit;
$cpu = worker_cpu($node) - $cpu;
cmp_ok($failed, '>=', 20,
	"without a KMS: cold chats are requested all the time, and fail: $failed times");
measured('a plain pgbench beside it: %.0f tps with the KMS, %.0f without; the worker used %.2f s of CPU in these 5 s',
	median(@before), median(@during), $cpu);
cmp_ok(median(@during), '>', 0.3 * median(@before),
	'without a KMS: statements that do not need it go on');
cmp_ok($cpu, '<', 1, 'without a KMS: the worker does not spin');

$proxy->listen('accept');
$seconds = works_again($node, 300, 20);
ok(defined $seconds, 'a cold chat is read when the KMS is back');
measured('recovery: %.2f s', $seconds);
cmp_ok($seconds, '<', 8, 'the return of the KMS is noticed within 8 s');
is(worker_pid($node), $worker, 'the worker is the same after the outage');

# The same with a KMS that accepts requests and does not answer.
$bao->pause;
$seconds = seconds(sub { $error = failure($node, read_chat(302)) });
like($error, qr/^58030 .*did not answer/, 'a KMS that hangs: a cold chat is not read');
measured('a cold key, KMS hangs, kms_timeout 2 s: %.2f s', $seconds);
cmp_ok($seconds, '<', 4, 'a KMS that hangs: a cold chat fails within kms_timeout');
$seconds = seconds(sub { $error = failure($node, read_chat(303)) });
like($error, qr/^58030 .*was not asked/, 'a KMS that hangs: the breaker is open after a failure');
cmp_ok($seconds, '<', 1, 'a KMS that hangs: the next request fails at once');
is(count_read($node, 1 .. 10), '10', 'a KMS that hangs: warm chats are read');
$bao->resume;
$seconds = works_again($node, 302, 20);
ok(defined $seconds, 'a KMS that hung: a cold chat is read when it is back');
measured('recovery: %.2f s', $seconds);
cmp_ok($seconds, '<', 8, 'a KMS that hung: its return is noticed within 8 s');

# Without a KMS, warm keys expire at their greatest age.
set($node, 'chatcrypt.cache_ttl' => '1s', 'chatcrypt.cache_max_age' => '6s');
make_cold($node);
is(ask($node, read_chat(4)), 'body 4', 'a key is warm before the KMS goes away');
$proxy->listen('refuse');
my $start = Time::HiRes::time();
my $last_good = 0;
ok(wait_until(20, sub {
	my $bad = failure($node, read_chat(4));
	$last_good = Time::HiRes::time() - $start if $bad eq '';
	return $bad ne '';
}), 'a warm key expires while the KMS is away');
measured('cache_ttl 1 s, cache_max_age 6 s, no KMS: the key worked for %.1f s', $last_good);
cmp_ok($last_good, '>', 3, 'a warm key outlives refreshes that fail');
cmp_ok($last_good, '<', 9, 'a warm key does not outlive cache_max_age');
$proxy->listen('accept');
$seconds = works_again($node, 4, 20);
ok(defined $seconds, 'a cold chat is read again when the KMS is back');

# New chats with a search key each need twice as many jobs, and no calls of their own.
sub calls_for
{
	my ($from, $to, $tenant) = @_;
	my $calls = 'SELECT sum(calls) FROM chatcrypt.kms_status';
	my $before = ask($node, $calls);
	is(ask($node, "SELECT chatcrypt.create_chats(array_agg(n), tenant => '$tenant') FROM generate_series(${from}::bigint, $to) AS n"),
		$to - $from + 1, "$tenant: 10,000 chats are made");
	return ask($node, $calls) - $before;
}

$node->safe_psql('postgres', q{SELECT chatcrypt.create_tenant('unsearched'), chatcrypt.create_tenant('searched')});
$node->safe_psql('postgres', q{SELECT chatcrypt.set_tenant_search('searched', 'blind')});
my $without_search = calls_for(500_001, 510_000, 'unsearched');
my $with_search = calls_for(600_001, 610_000, 'searched');
measured('calls for 10,000 chats: %d without search, %d with', $without_search, $with_search);
cmp_ok($with_search, '<=', 2 * $without_search + 10, 'the search keys of many chats take no more calls than their data keys');
is(ask($node, 'SELECT count(*), count(DISTINCT p.chat_id) FROM chatcrypt.dek AS d JOIN chatcrypt.search_policy AS p USING (chat_id) WHERE p.complete'),
	'20000|10000', 'each of the searched chats has a data key, a search key and a complete index');

unlike(slurp_file($node->logfile), qr/PANIC|terminated by signal|TRAP:/, 'the log has no crash');
$node->stop;
done_testing();
