# A table is protected while sessions read and write it and check every value
# (test/t/lib/protect_load.py).  The backend that seals the rows is killed at three points, and the
# postmaster once; each time protect_rows() is called again.  Afterwards neither the files of the
# database nor newly written WAL hold a body in plaintext.  Then the protection is removed, also under
# load.
#
#   LIVE_ROWS=1000000       the number of rows; 100,000 by default
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

# Without wal_recycle, no WAL segment keeps old content.  With log_lock_waits, a wait for a lock that
# is longer than deadlock_timeout is logged.
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
cmp_ok(scalar(files_with_bodies()), '>=', 2, 'before, files of the heap and of TOAST hold plaintext');
is(in_statistics(), '1', 'before, statistics hold plaintext');

my ($in, $out, $err) = ('', '', '');
my $load = IPC::Run::start([ '/usr/bin/python3', '-B', dirname(__FILE__) . '/lib/protect_load.py', $node->connstr('postgres') . ' user=app',
		$marker, $rows, 3 ], '<', \$in, '>', \$out, '2>', \$err);
sleep 2;
no_problem('before it is protected');

# After this call, new values are sealed.
is(ask($node, q{SELECT count(chatcrypt.protect('app.message', 'body', 'chat_id', 'id'))}), '1', 'the table is protected under load');
no_problem('after protect()');
is(state(), 'mixed', 'existing rows are not sealed yet');

foreach my $point (1 .. 3)
{
	my $pid = seal_slowly(sub { kill 'KILL', $_[0] });
	ok($pid, "the backend is killed at point $point");
	ok(wait_until(60, sub { is_there() }), 'the server accepts connections again');
	is(state(), 'mixed', 'some rows are not sealed yet');
	$node->safe_psql('postgres', 'ANALYZE app.message');
	sleep 1;
	no_problem("after point $point");
}

# The backend is killed too, because it would go on for a while without its postmaster.
seal_slowly(sub { $node->kill9; kill 'KILL', $_[0] });
ok(!is_there(), 'the postmaster is killed');
wait_until(20, sub { !-e $node->data_dir . '/postmaster.pid' || !is_alive() });
sleep 1;
$node->start;
is(state(), 'mixed', 'some rows are not sealed yet');
no_problem('after the postmaster was killed');

my $done = ask($node, q{CALL chatcrypt.protect_rows('app.message')});
like($done, qr/^\d+$/, 'the remaining rows are sealed');
cmp_ok($done, '<', $rows, 'rows that were sealed before are not sealed again');
is(state(), 'sealed', 'all rows are sealed');
no_problem('after all rows were sealed');
is(ask($node, q{SELECT count(*) FROM chatcrypt.verify_protected('app.message')}), '0', 'all values open');

no_wait('while it was protected');

# Newly written WAL holds no plaintext, and once the table has been rewritten, no file does.
$node->safe_psql('postgres', $_) foreach 'VACUUM FULL app.message', 'ANALYZE', 'VACUUM FULL pg_statistic', 'CHECKPOINT';
my $segment = $node->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
sleep 3;
$node->safe_psql('postgres', $_) foreach 'ANALYZE app.message', 'VACUUM FULL app.message', 'CHECKPOINT';
no_problem('after it was rewritten');
my $log_read = -s $node->logfile;       # because sessions wait for VACUUM FULL, as with any table
is_deeply([ files_with_bodies() ], [], 'no file of a database holds a body in plaintext');
my @segments = grep { /^[0-9A-F]{24}$/ && $_ gt $segment } map { s/.*\///r } glob $node->data_dir . '/pg_wal/*';
cmp_ok(scalar(@segments), '>', 0, 'new WAL has been written');
is_deeply([ grep { has_body($node->data_dir . "/pg_wal/$_") } @segments ], [], 'new WAL holds no body in plaintext');
is(in_statistics(), '0', 'statistics hold no body in plaintext');

# Removing the protection.
is(ask($node, q{SELECT chatcrypt.unprotect('app.message', 'body')}), '', 'unprotect() succeeds under load');
like(ask($node, q{CALL chatcrypt.protect_rows('app.message')}), qr/^\d+$/, 'protect_rows() opens the rows');
is($node->safe_psql('postgres', q{SELECT amname FROM pg_class JOIN pg_am ON pg_am.oid = relam WHERE pg_class.oid = 'app.message'::regclass}), 'heap', 'the table has the access method heap again');
is($node->safe_psql('postgres', 'SELECT count(*) FROM chatcrypt.protected'), '0', 'no column is protected any more');

$in .= "stop\n";
my $seen = answered();
is_deeply($seen->{problems}, [], 'no session has seen an error or a wrong value');
cmp_ok($seen->{counts}{done}, '>', 1000, 'the sessions have run many statements');
note(explain($seen));
$load->finish;
my $uncertain = ($seen->{counts}{'unknown insert'} // 0) + ($seen->{counts}{'unknown delete'} // 0);
my $there = $node->safe_psql('postgres', 'SELECT count(*) FROM app.message');
cmp_ok(abs($there - $rows - $seen->{added}), '<=', $uncertain, 'the table has all rows, and no others');
is($node->safe_psql('postgres', "SELECT count(*) FROM app.message WHERE body IS DISTINCT FROM '$marker ' || id || ' ' || n || ' ' || md5(id || ' ' || n) || "
		. "CASE WHEN id % 500 = 0 THEN repeat(' and on and on', 500) ELSE '' END"), '0', 'each row has its body');
no_wait('while the protection was removed', $log_read);
unlike(slurp_file($node->logfile), qr/$marker/, 'the log holds no body');

done_testing();

# Seals rows so slowly that some are left after four seconds, and then calls $happens with the pid.
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

# Counts columns whose statistics hold a body, in pg_stats because pg_statistic compresses values.
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
	is_deeply($seen->{problems}, [], "no session sees an error or a wrong value $when; longest statement: $seen->{longest}[0] s");
	return;
}

sub has_body
{
	my ($file) = @_;
	return index(slurp_file($file), $marker) >= 0;
}

# The files of databases, including temporary files, that hold a body.
sub files_with_bodies
{
	my ($found) = run_command([ 'grep', '-rlaF', $marker, $node->data_dir . '/base', $node->data_dir . '/global' ]);
	return split /\n/, $found;
}
