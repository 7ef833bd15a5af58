# A table is protected while sessions read and write it and check every value (test/t/lib/protect_load.py).  The backend
# that seals the rows is killed at three points, the postmaster once, and each time it is resumed.  Then no body is in
# clear in the files of the database, nor in the WAL that is written from there on, and the way back is the same.
#
#   LIVE_ROWS=1000000       how many rows (100,000 unless said)
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use File::Basename qw(dirname);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $rows = $ENV{LIVE_ROWS} // 100_000;
my $marker = 'zq7marker';

# wal_recycle: a segment that is used again keeps what was in it.  deadlock_timeout: so long a wait is logged.
my $node = Chatcrypt::Test->start('live', streaming => 1, conf => <<'CONF');
restart_after_crash = on
log_statement = none
log_lock_waits = on
deadlock_timeout = 1s
wal_recycle = off
wal_init_zero = on
max_wal_size = 4GB
max_wal_senders = 0
wal_level = replica
CONF
$node->safe_psql('postgres', <<"SQL");
SELECT count(chatcrypt.create_chat(c)) FROM generate_series(1, 20) AS c;
CREATE ROLE app LOGIN IN ROLE chatcrypt_writer, chatcrypt_reader;
CREATE SCHEMA app AUTHORIZATION app;
SET ROLE app;
CREATE TABLE app.message (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text NOT NULL, n integer NOT NULL, seen integer NOT NULL DEFAULT 0);
ALTER TABLE app.message ALTER body SET STORAGE EXTERNAL;
INSERT INTO app.message SELECT id, 1 + id % 20, '$marker ' || id || ' 0 ' || md5(id || ' 0') || CASE WHEN id % 500 = 0 THEN repeat(' and on and on', 500) ELSE '' END, 0
	FROM generate_series(1, $rows) AS id;
CREATE INDEX ON app.message (chat_id, id);
ANALYZE app.message;
SQL
$node->safe_psql('postgres', 'CHECKPOINT');
cmp_ok(scalar(files_with_bodies()), '>=', 2, 'bodies are in the files of the heap and of TOAST before');
is(in_statistics(), '1', 'and in statistics');

my ($in, $out, $err) = ('', '', '');
my $load = IPC::Run::start([ '/usr/bin/python3', '-B', dirname(__FILE__) . '/lib/protect_load.py', $node->connstr('postgres') . ' user=app',
		$marker, $rows, 3 ], '<', \$in, '>', \$out, '2>', \$err);
sleep 2;
no_problem('before');

# Protected from here on: new values are sealed.
is(ask($node, q{SELECT count(chatcrypt.protect('app.message', 'body', 'chat_id', 'id'))}), '1', 'the table is protected under load');
no_problem('while it is protected');
is(state(), 'mixed', 'its rows are to be sealed yet');

foreach my $point (1 .. 3)
{
	my $pid = seal_slowly(sub { kill 'KILL', $_[0] });
	ok($pid, "the backend is killed at point $point");
	ok(wait_until(60, sub { is_there() }), 'the server is there again');
	is(state(), 'mixed', 'rows are left');
	$node->safe_psql('postgres', 'ANALYZE app.message');
	sleep 1;
	no_problem("after point $point");
}

# A backend that is at work would go on for a while without its postmaster.
seal_slowly(sub { $node->kill9; kill 'KILL', $_[0] });
ok(!is_there(), 'the postmaster is killed');
wait_until(20, sub { !-e $node->data_dir . '/postmaster.pid' || !is_alive() });
sleep 1;
$node->start;
is(state(), 'mixed', 'rows are left');
no_problem('after the postmaster was killed');

my $done = ask($node, q{CALL chatcrypt.protect_rows('app.message')});
like($done, qr/^\d+$/, 'the rest is sealed');
cmp_ok($done, '<', $rows, 'what was sealed before was not sealed again');
is(state(), 'sealed', 'no row is left');
no_problem('when all is sealed');
is(ask($node, q{SELECT count(*) FROM chatcrypt.verify_protected('app.message')}), '0', 'all rows open');

no_wait('while it was protected');

# What is written from here on has nothing in clear, and when the table has been written anew no file has.
$node->safe_psql('postgres', $_) foreach 'VACUUM FULL app.message', 'ANALYZE', 'VACUUM FULL pg_statistic', 'CHECKPOINT';
my $segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
sleep 3;
$node->safe_psql('postgres', $_) foreach 'ANALYZE app.message', 'VACUUM FULL app.message', 'CHECKPOINT';
no_problem('after it was written anew');
my $log_read = -s $node->logfile;       # VACUUM FULL has sessions wait, with any table
is_deeply([ files_with_bodies() ], [], 'no file of a database has a body in clear');
my @segments = grep { /^[0-9A-F]{24}$/ && $_ gt $segment } map { s/.*\///r } glob $node->data_dir . '/pg_wal/*';
cmp_ok(scalar(@segments), '>', 0, 'WAL was written since');
is_deeply([ grep { has_body($node->data_dir . "/pg_wal/$_") } @segments ], [], 'nor has it one');
is(in_statistics(), '0', 'nor have statistics');

# The way back.
is(ask($node, q{SELECT chatcrypt.unprotect('app.message', 'body')}), '', 'the protection is taken off under load');
like(ask($node, q{CALL chatcrypt.protect_rows('app.message')}), qr/^\d+$/, 'the rows are opened');
is($node->safe_psql('postgres', q{SELECT amname FROM pg_class JOIN pg_am ON pg_am.oid = relam WHERE pg_class.oid = 'app.message'::regclass}), 'heap', 'it is a heap again');
is($node->safe_psql('postgres', 'SELECT count(*) FROM chatcrypt.protected'), '0', 'and none that is protected');

$in .= "stop\n";
my $seen = answered();
is_deeply($seen->{problems}, [], 'no session saw an error or a wrong value');
cmp_ok($seen->{counts}{done}, '>', 1000, 'they did much');
note(explain($seen));
$load->finish;
my $uncertain = ($seen->{counts}{'unknown insert'} // 0) + ($seen->{counts}{'unknown delete'} // 0);
my $there = $node->safe_psql('postgres', 'SELECT count(*) FROM app.message');
cmp_ok(abs($there - $rows - $seen->{added}), '<=', $uncertain, 'all rows are there, and no others');
is($node->safe_psql('postgres', "SELECT count(*) FROM app.message WHERE body IS DISTINCT FROM '$marker ' || id || ' ' || n || ' ' || md5(id || ' ' || n) || "
		. "CASE WHEN id % 500 = 0 THEN repeat(' and on and on', 500) ELSE '' END"), '0', 'and each has its body');
no_wait('on the way back', $log_read);
unlike(slurp_file($node->logfile), qr/$marker/, 'and no body is in the log');

done_testing();

# Seals rows so slowly that this is not done in the four seconds until something happens to it.
sub seal_slowly
{
	my ($happens) = @_;
	my $per_second = int($rows / 40);
	my $session = IPC::Run::start([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'),
			'-c', "CALL chatcrypt.protect_rows('app.message', batch => 500, rows_per_second => $per_second)" ], '<', \undef, '>', \my $said, '2>', \my $complaint);
	sleep 4;
	my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL chatcrypt.protect_rows%'});
	$happens->($pid);
	eval { $session->finish };
	return $pid;
}

sub is_there { return ($node->psql('postgres', 'SELECT 1'))[0] == 0; }
sub is_alive { my $pid = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0]; return kill 0, $pid; }
sub state { return $node->safe_psql('postgres', q{SELECT state FROM chatcrypt.protected WHERE relation = 'app.message'::regclass}); }

sub no_wait
{
	my ($when, $from) = @_;
	unlike(slurp_file($node->logfile, $from // 0), qr/still waiting for/, "no session waited for a lock for a second $when");
	return;
}

# Of one column; pg_statistic compresses what it has.
sub in_statistics
{
	return $node->safe_psql('postgres', <<"SQL");
SELECT count(*) FROM pg_stats WHERE schemaname = 'app' AND (most_common_vals::text ~ '$marker' OR histogram_bounds::text ~ '$marker')
SQL
}

sub answered
{
	wait_until(120, sub { $load->pump_nb; $out =~ /\n/ }) or die "the sessions do not answer: $err";
	my ($line, $rest) = split /\n/, $out, 2;
	$out = $rest;
	return JSON::PP::decode_json($line);
}

sub no_problem
{
	my ($when) = @_;
	$in .= "seen\n";
	my $seen = answered();
	is_deeply($seen->{problems}, [], "no error and no wrong value $when; longest statement: $seen->{longest}[0] s");
	return;
}

sub has_body
{
	my ($file) = @_;
	return index(slurp_file($file), $marker) >= 0;
}

# Files of databases, temporary ones among them, that have a body.
sub files_with_bodies
{
	my ($found) = run_command([ 'grep', '-rlaF', $marker, $node->data_dir . '/base', $node->data_dir . '/global' ]);
	return split /\n/, $found;
}
