# A KMS worker that does not move: sessions wait for it once and then no longer, the views say so,
# and a worker that is stuck in reading a file ends by itself.  A worker that is only slow, because
# the KMS or the machine is, is never taken for one that hangs.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('hung', bao => $bao, proxy => $proxy);
my $folder = PostgreSQL::Test::Utils::tempdir();
my $next_chat = 2;
my $silent = qr/^58030 could not unwrap .*was not asked: the chatcrypt KMS worker has not moved for \d+ s/;

sub cold { return $next_chat++; }
sub worker { my ($columns) = @_; return $node->safe_psql('postgres', "SELECT $columns FROM chatcrypt.kms_worker"); }
sub waits { my ($columns) = @_; return $node->safe_psql('postgres', "SELECT $columns FROM chatcrypt.kms_waits"); }
sub log_of { return slurp_file($node->logfile); }
sub crashes { my @found = log_of() =~ /terminated by signal|reinitializing|PANIC|TRAP:/g; return scalar @found; }
sub nothing_left { return worker('requests_pending, requests_in_flight, answers_not_collected') eq '0|0|0'; }

# (seconds, error) of a read of a chat that is not cached.
sub read_cold
{
	my $error;
	my $seconds = seconds(sub { $error = failure($node, read_chat(cold())) });
	return ($seconds, $error);
}

make_chats($node, 1, 3000);
make_cold($node);
is(ask($node, read_chat(1)), 'body 1', 'chat 1 is warm');
is(worker(q{hung, oldest_request_age IS NULL, now() - heartbeat_at < '3 s'}), 'f|t|t', 'a worker that has nothing to do moves');

# The worker is stopped.
set($node, 'chatcrypt.kms_timeout' => '2s');
my $pid = worker_pid($node);
kill 'STOP', $pid;
my ($timeouts, $refused) = split /\|/, waits('timeouts, refused_at_once');
my ($seconds, $error) = read_cold();
like($error, qr/^58030 could not unwrap .*did not answer within chatcrypt.kms_timeout/, 'stopped: the first cold statement fails');
cmp_ok($seconds, '>=', 2, sprintf('stopped: the first cold statement has waited for its timeout: %.2f s', $seconds));
my $late = 0;
ok(wait_until(10, sub { ($seconds, $error) = read_cold(); $late++ if $error !~ $silent; return $error =~ $silent; }),
	'stopped: later statements are refused because the worker does not move');
cmp_ok($late, '<=', 1, "stopped: no more than one later statement waited: $late");
my @refusals = map { [ read_cold() ] } 1 .. 9;
is(scalar(grep { $_->[1] =~ $silent } @refusals), 9,
	'stopped: nine statements in a row are refused');
cmp_ok(median(map { $_->[0] } @refusals), '<', 0.5, sprintf('stopped: statements are refused at once: %.3f s, with the start of psql', median(map { $_->[0] } @refusals)));
like($error, qr/HINT: See chatcrypt.kms_status and chatcrypt.kms_worker, then retry; nothing was changed/,
	'stopped: the error has a hint');
like(failure($node, 'SELECT chatcrypt.create_chat(900001)'), qr/^58030 could not make the data key .*has not moved for/, 'stopped: no chat is made');
is(ask($node, read_chat(1)), 'body 1', 'stopped: a warm chat is read');
ok(wait_until(10, sub { worker('hung') eq 't' }), 'stopped: kms_worker.hung says so');
is(worker(q{heartbeat_at < now() - interval '4 s'}), 't',
	'stopped: kms_worker.heartbeat_at says since when');
is(waits("timeouts > $timeouts, refused_at_once >= $refused + 10"), 't|t',
	'stopped: kms_waits counts timeouts and refusals');
like(check($node, $bao->kms_key), qr/has not moved for \d+ s/, 'stopped: kms_check() says why it knows nothing');
kill 'CONT', $pid;
$seconds = works_again($node, cold(), 10);
ok(defined $seconds, 'continued: cold chats are read');
cmp_ok($seconds, '<', 1, sprintf('continued: cold chats are read at once: %.2f s', $seconds));
is(worker('hung'), 'f', 'continued: kms_worker.hung is false');
is(worker_pid($node), $pid, 'continued: the worker is the same');
ok(wait_until(5, \&nothing_left), 'continued: nothing is left in the slots');

# The worker is slow because the KMS is.
set($node, 'chatcrypt.kms_timeout' => '20s');
$proxy->fault(path => 'decrypt', delay_ms => 8000, times => 1);
my $slow = cold();
my $session = session($node);
start($session, read_chat($slow));
my ($hung, $oldest, $silence) = (0, 0, 0);
my $end = Time::HiRes::time() + 7;
while (Time::HiRes::time() < $end)
{
	my @facts = split /\|/, worker('hung::int, coalesce(extract(epoch FROM oldest_request_age), 0), extract(epoch FROM clock_timestamp() - heartbeat_at)');
	$hung += $facts[0];
	$oldest = $facts[1] if $facts[1] > $oldest;
	$silence = $facts[2] if $facts[2] > $silence;
	sleep(0.1);
}
is(outcome($session), "body $slow", 'a KMS that takes 8 s: the statement waits and is answered');
$session->quit;
is($hung, 0, 'slow KMS: the worker is never taken for one that hangs');
cmp_ok($silence, '<', 3, sprintf('slow KMS: the worker moves all the time; it is never silent for longer than %.2f s', $silence));
cmp_ok($oldest, '>', 5, sprintf('slow KMS: the age of the oldest request shows the delay: %.1f s', $oldest));

# The worker is slow because the machine is: four busy processes for each processor.
set($node, 'chatcrypt.kms_timeout' => '2s');
my ($processors) = `nproc` =~ /(\d+)/;
my @busy;
for (1 .. 4 * $processors)
{
	my $child = fork // die 'fork';
	if ($child == 0) { 1 while 1; }
	push @busy, $child;
}
my ($reads, @errors) = (0);
$end = Time::HiRes::time() + 8;
while (Time::HiRes::time() < $end)
{
	(undef, $error) = read_cold();
	$reads++;
	push @errors, $error if $error =~ /has not moved/;
	$hung += worker('hung::int');
}
kill 'KILL', @busy;
waitpid $_, 0 foreach @busy;
cmp_ok($reads, '>', 5, "busy machine: $reads cold chats were read");
is("@errors", '', 'busy machine: no read is refused because of the worker');
is($hung, 0, 'busy machine: the worker is not taken for one that hangs');

# The worker is stuck in reading a file: libcurl reads the CA file, and a pipe without a writer is
# like a file system that does not answer.
my $pipe = "$folder/ca.pem";
POSIX::mkfifo($pipe, 0600) or die "mkfifo: $!";
$pid = worker_pid($node);
set($node, 'chatcrypt.vault_ca_file' => $pipe);
my $start = Time::HiRes::time();
($seconds, $error) = read_cold();
like($error, qr/^58030 /, 'stuck: a cold statement fails');
ok(wait_until(10, sub { ($seconds, $error) = read_cold(); $error =~ $silent && $seconds < 1; }),
	'stuck: later cold statements fail at once');
ok(wait_until(10, sub { worker('hung') eq 't' }), 'stuck: kms_worker.hung says so');
is(ask($node, read_chat(1)), 'body 1', 'stuck: a warm chat is read');
ok(wait_until(30, sub { (worker('coalesce(pid, 0)') || $pid) != $pid }), 'stuck: the worker ends, and another takes its place');
my $ended = Time::HiRes::time() - $start;
note(sprintf 'measured: stuck for %.1f s until the worker was gone', $ended);
cmp_ok($ended, '>=', 9, 'stuck: the worker does not end before its time');
like(log_of(), qr/the chatcrypt KMS worker has been stuck in libcurl for 10 s, and ends/, 'stuck: the log says why');

# The next worker makes the call of a session that waits again.
set($node, 'chatcrypt.kms_timeout' => '60s');
my $waiting = cold();
$session = session($node);
start($session, read_chat($waiting));
ok(wait_until(30, sub { worker('hung') eq 't' }), 'stuck: the next worker gets stuck as well');
$pid = worker_pid($node);
unlink $pipe;
symlink $proxy->ca_file, $pipe or die "symlink: $!";
is(outcome($session), "body $waiting", 'mended: a statement that waited all the time is answered, without a reload');
isnt(worker_pid($node), $pid, 'mended: another worker answered');
$session->quit;
($seconds, $error) = read_cold();
is($error, '', 'mended: cold chats are read');
is(crashes(), 0, 'mended: the server went on, and no session was ended');
ok(wait_until(5, \&nothing_left), 'mended: nothing is left in the slots');

# A server that is stopped meanwhile does not wait for the file either.
unlink $pipe;
POSIX::mkfifo($pipe, 0600) or die "mkfifo: $!";
set($node, 'chatcrypt.kms_timeout' => '1s');
read_cold();
$seconds = seconds(sub { $node->stop('fast') });
cmp_ok($seconds, '<', 30, sprintf('stuck: a fast shutdown takes %.1f s', $seconds));
is(crashes(), 0, 'stuck: no process crashes in a fast shutdown');
unlink $pipe;
symlink $proxy->ca_file, $pipe or die "symlink: $!";

# The OOM killer of the kernel: a postmaster that protects itself alone lets its children declare
# that they may be killed; the worker takes that back.
{
	local @ENV{qw(PG_OOM_ADJUST_FILE PG_OOM_ADJUST_VALUE)} = ('/proc/self/oom_score_adj', 500);
	$node->start;
}
sub oom_score { my ($process) = @_; return slurp_file("/proc/$process/oom_score_adj") =~ s/\s+//r; }
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
$session = session($node);
is(oom_score(answer($session, 'SELECT pg_backend_pid()')), '500', 'the OOM killer prefers a session to the postmaster');
ok(wait_until(10, sub { (worker('coalesce(pid, 0)')) > 0 }),
	'a KMS worker runs in the protected server');
is(oom_score(worker_pid($node)), oom_score($postmaster),
	'the OOM killer spares the worker as much as the postmaster');
$session->quit;
$node->stop;
done_testing();
