# The end of the KMS worker, by every signal and in the middle of work: no session waits forever,
# and no key or message is lost or mixed up.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until write_secret);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);

# More chats than the cache holds, so that the KMS is called all the time.
my $chats = 600;
my $node = Chatcrypt::Test->start('worker', bao => $bao, proxy => $proxy,
	conf => "chatcrypt.cache_size = 128\nrestart_after_crash = on\n");
my $folder = PostgreSQL::Test::Utils::tempdir();
make_chats($node, 1, $chats + 9);

# A chat that the load does not touch.
sub quiet { return $chats + shift; }

# Writes a message, and reads a part of the chat: any text of another chat is an error.
append_to_file("$folder/load.sql", <<"SQL");
\\set chat random(1, $chats)
\\set number random(1, 1000000000)
INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(:chat), 'load ' || :chat || ' ' || :number);
SELECT 1 / (count(*) = count(*) FILTER (WHERE body = 'body ' || :chat OR body LIKE 'load ' || :chat || ' %'))::integer
FROM (SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid(:chat) ORDER BY created_at DESC LIMIT 5) AS m;
SQL

my $runs = 0;

# Starts the load; finish() returns the report of pgbench, and how many transactions it completed.
sub start_load
{
	my ($seconds) = @_;
	my $load = { log => "$folder/load" . ++$runs, output => '', error => '' };
	$load->{run} = IPC::Run::start([ 'pgbench', '--no-vacuum', "--file=$folder/load.sql", '--client=6', '--jobs=2', "--time=$seconds",
			'--log', "--log-prefix=$load->{log}", '--host', $node->host, '--port', $node->port, 'postgres' ],
		'>', \$load->{output}, '2>', \$load->{error});
	sleep(1.5);
	return $load;
}

sub finish
{
	my ($load) = @_;
	eval { $load->{run}->finish };
	my $completed = 0;
	foreach my $file (glob "$load->{log}.*")
	{
		$completed += () = slurp_file($file) =~ /^/mg;
	}
	cmp_ok($completed, '>', 20, "there was work: $completed transactions");
	return ("$load->{output}\n$load->{error}", $completed);
}

sub no_failure
{
	my ($load, $name) = @_;
	my ($report) = finish($load);
	unlike($report, qr/ERROR|aborted|number of failed transactions: [1-9]/, $name);
	return;
}

sub rows { return $node->safe_psql('postgres', 'SELECT count(*) FROM chatcrypt.sealed_message'); }

# Every message has the text of its own chat; chat by chat, since the cache is small.
sub all_sound
{
	my ($name) = @_;
	is($node->safe_psql('postgres', <<'SQL'), 't|0', $name);
SELECT count(*) > 600, count(*) FILTER (WHERE body IS NULL OR chat_id <> chatcrypt.to_uuid((regexp_match(body, '^(?:body|load) (\d+)'))[1]::bigint))
FROM (SELECT chat_id AS c FROM chatcrypt.chat OFFSET 0) AS c,
	LATERAL (SELECT chat_id, body FROM chatcrypt.messages WHERE chat_id = c OFFSET 0) AS m
SQL
	return;
}

# Seconds until there is a worker of another pid.
sub replaced
{
	my ($pid) = @_;
	my $start = Time::HiRes::time();
	wait_until(30, sub {
		my ($status, $now) = $node->psql('postgres', 'SELECT pid FROM chatcrypt.kms_worker');
		return $status == 0 && $now =~ /^\d+$/ && $now != $pid;
	}) or return undef;
	return Time::HiRes::time() - $start;
}

# SIGTERM: the postmaster starts another worker, and sessions that wait do not notice.
my $load = start_load(6);
foreach my $time (1, 2)
{
	my $pid = worker_pid($node);
	kill 'TERM', $pid;
	my $seconds = replaced($pid);
	ok(defined $seconds, 'SIGTERM: there is a new worker');
	note(sprintf 'measured: SIGTERM, a new worker after %.2f s', $seconds);
	cmp_ok($seconds, '<', 4, 'SIGTERM: the new worker is there within 4 s');
}
no_failure($load, 'SIGTERM, twice: no statement failed');
all_sound('SIGTERM: every message has the text of its own chat');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'SIGTERM: no process crashes');

# SIGTERM while the KMS works on a call: the next worker makes the call again.
make_cold($node);
my $pid = worker_pid($node);
$proxy->reset;
$proxy->fault(path => 'decrypt', delay_ms => 800, times => 1);
my $session = session($node);
$session->query_until(qr/begun/, "\\echo begun\n" . read_chat(quiet(1)) . ";\n");
wait_until(10, sub { $proxy->requests('decrypt') == 1 }) or die 'does not ask';
kill 'TERM', $pid;
is($session->query('SELECT 1'), 'body ' . quiet(1) . "\n1", 'a request that was under way is answered by the next worker');
is($proxy->requests('decrypt'), 2, 'the next worker made the call again');
$session->quit;

# A worker that does not run: the wait is bounded, and the error says why.
set($node, 'chatcrypt.kms_timeout' => '1s');
$pid = worker_pid($node);
kill 'STOP', $pid;
my $error;
my $seconds = seconds(sub { $error = failure($node, read_chat(quiet(2))) });
kill 'CONT', $pid;
like($error, qr/^58030 could not unwrap .*did not answer within chatcrypt.kms_timeout \(1 s\): (?:no answer within|the chatcrypt KMS worker has not moved)/,
	'a worker that hangs: a cold chat is not read, and the error says why');
cmp_ok($seconds, '>=', 1, 'a worker that hangs: the session waits for kms_timeout');
cmp_ok($seconds, '<', 4, sprintf('no longer than kms_timeout and a little: %.2f s', $seconds));
ok(defined works_again($node, quiet(2), 10),
	'a worker that hung: a cold chat is read when it runs again');
set($node, 'chatcrypt.kms_timeout' => undef);

# Reloads and other credentials under load.
$load = start_load(5);
foreach my $time (1 .. 10)
{
	$node->reload;
	sleep(0.1);
}
my $old_token = slurp_file($bao->token_file);
my $new_file = write_secret("$folder/token", $bao->new_token);
set($node, 'chatcrypt.vault_token_file' => $new_file);
ok(wait_until(10, sub { check($node, $bao->kms_key) eq 'ok' }),
	'kms_check() succeeds with another token under load');
$bao->cli('token', 'revoke', $old_token);
sleep(1);
set($node, 'chatcrypt.vault_token_file' => '', 'chatcrypt.vault_role_id_file' => $bao->role_id_file,
	'chatcrypt.vault_secret_id_file' => $bao->secret_id_file);
ok(wait_until(10, sub { check($node, $bao->kms_key) eq 'ok' }),
	'kms_check() succeeds with another login under load');
$bao->cli('token', 'revoke', slurp_file($new_file));
no_failure($load, 'reloads and other credentials: no statement failed');

# kill -9: the cluster recovers, as after the crash of any process with shared memory.
$load = start_load(20);
my $before = rows();
$pid = worker_pid($node);
kill 'KILL', $pid;
$seconds = replaced($pid);
ok(defined $seconds, 'kill -9: the cluster and its worker are back');
note(sprintf 'measured: kill -9, a new worker after %.2f s', $seconds);
my ($report, $completed) = finish($load);
like($report, qr/terminating connection because of crash|server closed the connection|aborted/,
	'kill -9: sessions are ended, as after any crash');
cmp_ok(rows(), '>=', $before, 'kill -9: no committed message is lost');
is($node->safe_psql('postgres', 'SELECT requests_in_flight, answers_not_collected FROM chatcrypt.kms_worker'), '0|0',
	'kill -9: no slot is left in use');
all_sound('kill -9: every message has the text of its own chat');
like(slurp_file($node->logfile), qr/all server processes terminated; reinitializing/,
	'kill -9: the cluster was reinitialized');
$load = start_load(3);
no_failure($load, 'kill -9: no statement fails under load afterwards');

# The transactions that pgbench saw committed are counted, and as many rows must be there.
$before = rows();
$load = start_load(20);
$pid = worker_pid($node);
kill 'KILL', $pid;
replaced($pid);
(undef, $completed) = finish($load);
my $after = rows();
cmp_ok($after - $before, '>=', $completed,
	"kill -9: each of $completed transactions that a client saw committed is there");
cmp_ok($after - $before, '<=', $completed + 6,
	'kill -9: hardly more rows are there than clients saw committed');

# An immediate shutdown under load.
$load = start_load(20);
$pid = worker_pid($node);
$node->stop('immediate');
ok(wait_until(10, sub { !kill 0, $pid }), 'an immediate shutdown ends the worker');
finish($load);
$node->start;
all_sound('an immediate shutdown: every message has the text of its own chat');
is(ask($node, 'SELECT chatcrypt.decrypt(3, 1, chatcrypt.encrypt(3, 1, $$x$$))'), 'x',
	'an immediate shutdown: chat 3 seals and opens after the restart');

$node->stop;
ok(!grep({ /chatcrypt KMS worker/ } map { -r "/proc/$_/cmdline" ? slurp_file("/proc/$_/cmdline") : '' } worker_children()),
	'no worker is left after the server was stopped');
done_testing();

# Processes that the server may have left: those whose working directory is the data directory.
sub worker_children
{
	return grep { (readlink("/proc/$_/cwd") // '') eq $node->data_dir } map { m{/proc/(\d+)$} } glob '/proc/[0-9]*';
}
