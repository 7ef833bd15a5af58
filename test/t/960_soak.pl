# A soak: sessions write, read, rotate, shred, search and upload while faults come at random, all of
# them from one seed.  The test knows outside of the database what was committed: nothing of it is
# lost or wrong, no session sees an error that the documentation does not name, and nothing piles
# up: no request slot, no memory, no log.
#
#   SOAK_SECONDS=900 SOAK_SEED=7    how long (300 unless said), and the seed of a run that failed
#
# Five rounds.  In the first two, processes are ended as well; the processes that are there after
# that stay. In the third they reach the memory that they need; in the last two, memory must not
# grow.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::Kms;
use Chatcrypt::OpenBao;
use Chatcrypt::Soak;
use Chatcrypt::Test qw(wait_until);
use File::Basename qw(dirname);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = 5;
my $seconds = $ENV{SOAK_SECONDS} // 300;
my $seed = $ENV{SOAK_SEED} // int(rand(1_000_000));
diag("a soak of $seconds seconds; again by SOAK_SEED=$seed SOAK_SECONDS=$seconds");

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('soak', bao => $bao, proxy => $proxy, conf => <<'CONF');
restart_after_crash = on
log_statement = none
log_replication_commands = off
log_checkpoints = off
max_worker_processes = 12
chatcrypt.cache_size = 128
chatcrypt.cache_ttl = '5s'
chatcrypt.cache_max_age = '60s'
chatcrypt.kms_timeout = '2s'
chatcrypt.kms_connect_timeout = '1s'
chatcrypt.maintenance_databases = 'postgres'
CONF
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN IN ROLE chatcrypt_writer, chatcrypt_reader;
CREATE ROLE keeper LOGIN IN ROLE chatcrypt_admin, chatcrypt_auditor;
SELECT chatcrypt.create_tenant('busy');
UPDATE chatcrypt.tenant SET rotate_messages = 30, reencrypt_after = '0' WHERE tenant = 'busy';
SELECT chatcrypt.set_tenant_search('busy', 'blind');
SQL

srand($seed);
my $soak = Chatcrypt::Soak->new(node => $node, bao => $bao, proxy => $proxy);
my $length = $seconds / $rounds;
my @plans = map { [ $soak->plan($length, restarts => $_ <= 2) ] } 1 .. $rounds;

# The sessions, and what they are told.
my ($in, $out, $err) = ('', '', '');
my $sessions = IPC::Run::start([ '/usr/bin/python3', '-B', dirname(__FILE__) . '/lib/soak_sessions.py',
		$node->connstr('postgres'), $seed, 6 ], '<', \$in, '>', \$out, '2>', \$err);

sub answered
{
	my ($patience) = @_;
	wait_until($patience, sub { $sessions->pump_nb; $out =~ /\n/ }) or die "the sessions do not answer: $err";
	my ($line, $rest) = split /\n/, $out, 2;
	$out = $rest;
	return JSON::PP::decode_json($line);
}

sub told
{
	my (@command) = @_;
	$in .= "@command\n";
	return answered(300);
}

# The memory of a process that is its own, in kB; of all processes that were there.
my %memory;

sub sample
{
	my %pid = (worker => $soak->ask_if_there('SELECT pid FROM chatcrypt.kms_worker'), session => told('long')->{pid});
	foreach my $name (grep { $pid{$_} } keys %pid)
	{
		open my $status, '<', "/proc/$pid{$name}/status" or next;
		my ($kilobytes) = do { local $/; <$status> } =~ /^RssAnon:\s+(\d+) kB/m;
		push @{ $memory{$name}{ $pid{$name} } }, $kilobytes if $kilobytes;
	}
	return;
}

sub run_round
{
	my ($steps, $measured) = @_;
	my $begin = time;
	my $sampled = 0;

	told('run');
	foreach my $step (@$steps, { at => $length })
	{
		while (time < $begin + $step->{at})
		{
			if ($measured && time > $sampled + 1) { sample(); $sampled = time; }
			sleep(0.05);
		}
		next unless $step->{what};
		note(sprintf '%6.1f s: %s: %s', time - $begin, $step->{what}, $step->{name});
		told('allow', $_, 60) foreach $soak->states($step);
		$soak->take($step);
	}
	return;
}

# Every fault is over: the server recovers without any action.
sub recovers
{
	my ($name) = @_;
	my $since = time;
	ok(wait_until(120, sub { $soak->ask_if_there(q{SELECT bool_and(ok) FROM chatcrypt.kms_check('vault:transit/chat')}) eq 't' }), "$name: kms_check() succeeds again");
	note(sprintf '%s: after %.1f s', $name, time - $since);
	is_deeply(told('pause')->{hanging}, [], "$name: no statement hangs");
	ok(wait_until(30, sub {
		$soak->ask_if_there(q{SELECT (requests_pending, requests_in_flight, answers_not_collected, (SELECT sum(in_flight + waiting) FROM chatcrypt.kms_status)) FROM chatcrypt.kms_worker}) eq '(0,0,0,0)';
	}), "$name: no request slot is left") or diag($soak->ask_if_there('SELECT to_jsonb(w) FROM chatcrypt.kms_worker AS w; SELECT to_jsonb(s) FROM chatcrypt.kms_status AS s'));
	return;
}

answered(300);

# What the log says of some rounds, how long they took, and how often a fault erased the worker's
# memory of what it had logged.
my @parts;
my ($log_end, $time_end, $forgotten) = (-s $node->logfile, time, 0);

sub end_part
{
	my %part = (log => substr(slurp_file($node->logfile), $log_end), begin => $time_end, end => time, forgotten => $soak->forgotten - $forgotten);
	$log_end += length $part{log};
	($time_end, $forgotten) = ($part{end}, $soak->forgotten);
	push @parts, \%part;
	return;
}

foreach my $round (1 .. $rounds)
{
	run_round($plans[ $round - 1 ], $round > 3);
	recovers("round $round");
	my $since = time;
	my $found = told('check');
	is(scalar @{ $found->{problems} }, 0, "round $round: nothing is lost or wrong, and no error is a surprise") or diag(join "\n", @{ $found->{problems} });
	note("round $round: $found->{messages} messages, $found->{files} files, $found->{envelopes} envelopes in $found->{chats} chats, $found->{shredded} of them shredded; compared in " . sprintf '%.1f s', time - $since);
	is($node->safe_psql('postgres', 'SELECT * FROM chatcrypt.verify_keys()'), '', "round $round: every data key opens");
	is($node->safe_psql('postgres', 'SELECT chatcrypt.seal_events() IS NULL; SELECT * FROM chatcrypt.verify_events()'), 'f', "round $round: the history of keys is whole");
	end_part() if $round == 2 || $round == $rounds;
}

my $counts = told('counts')->{counts};
note("operations: " . JSON::PP->new->canonical->encode($counts));
note("faults: " . JSON::PP->new->canonical->encode($soak->{taken}));
cmp_ok($counts->{$_} // 0, '>', 0, "sessions did $_") foreach qw(insert put_many update delete read search upload download rotate shred rewrap reencrypt purge maintain make_chat open);

# A process that was there all the time needs in the end the memory that it needed before, give or
# take the longest reply of a key service, which is 1 MB and is read into a buffer that doubles.
sub median_of { return (sort { $a <=> $b } @_)[ @_ / 2 ]; }
foreach my $name (qw(worker session))
{
	my ($longest) = sort { @$b <=> @$a } values %{ $memory{$name} };
	my @samples = @{ $longest // [] };
	my $third = int(@samples / 3);
	cmp_ok($third, '>=', 3, "$name: " . @samples . ' samples of the memory of one process');
	next unless $third;
	my ($first, $last) = map { median_of(@$_) } [ @samples[ 0 .. $third - 1 ] ], [ @samples[ -$third .. -1 ] ];
	note("$name: memory in kB: @samples[map { $_ * $#samples / 10 } 0 .. 10]");
	cmp_ok($last, '<=', $first * 1.15 + 2048, "$name: its memory is flat: $first kB, then $last kB");
}

# Lines of the log that PostgreSQL itself writes when it is told to reload, a statement is canceled,
# or a process was killed, are not chatcrypt's to keep few.
my $of_postgres = qr/received SIGHUP|terminated by signal 9|terminating connection|terminating any other|all server processes terminated|database system|automatic recovery|redo |invalid record length|in log segment|the database system is|listening on|background worker .* exited|checkpoint|Failed process was running|Consistent recovery state|canceling statement due to user request|STATEMENT:  /;

# Thousands of statements fail, and the trouble of the key service is logged once a minute for each
# of a few reasons: so the number of lines grows with the time, and not with the number of faults or
# statements.  A server or a KMS worker that was ended has forgotten what it logged, and logs it
# again: so the number grows with their number too.  Measured were 8 lines a minute, and 3 to 4 for
# each that was ended.
sub tells_little
{
	my ($name, $part) = @_;
	my $minutes = ($part->{end} - $part->{begin}) / 60;
	my $limit = 10 + 12 * $minutes + 6 * $part->{forgotten};
	my @lines = grep { !/$of_postgres/ } split /\n/, $part->{log};
	my %kinds;
	$kinds{$_}++ foreach map { s/^\S+ \S+ \S+ \[\d+\] \S+ //r =~ s/[0-9a-f]{8}-[0-9a-f-]{27}/UUID/gr =~ s/\d+/N/gr } @lines;

	note("log: $kinds{$_} times " . substr($_, 0, 200)) foreach sort { $kinds{$b} <=> $kinds{$a} || $a cmp $b } keys %kinds;
	note(sprintf '%s: %d lines of the log in %.1f minutes, %d with those of PostgreSQL', $name, scalar @lines, $minutes, scalar(() = $part->{log} =~ /\n/g));
	cmp_ok(scalar(@lines), '<=', $limit, sprintf '%s: the log has no more than 10 lines, 12 a minute, and 6 for each of %d processes that were ended', $name, $part->{forgotten});
	return;
}
unlike($_->{log}, qr/PANIC|TRAP:|signal 11|signal 6/,
	'no process crashed except by the faults') foreach @parts;
tells_little('rounds 1 and 2, in which processes are ended', $parts[0]);
tells_little('rounds 3 to 5', $parts[1]);

# The sessions know one reason why a file may vanish while it is uploaded, and no other.
my $vanished = told('vanish');
is_deeply($vanished->{shredded}, [], 'an upload whose chat is shredded fails as expected');
like("@{ $vanished->{deleted} }", qr/^postgres check, vanish: 42704 ERROR:  attachment \S+ does not exist\s*$/,
	'an upload whose file vanishes for no known reason is reported');

$in = '';
$sessions->finish;
$node->stop;
done_testing();
