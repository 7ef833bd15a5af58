# The maintenance worker: what it does by itself, what it survives, and what it reports.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('maintenance', streaming => 1,
	conf => "chatcrypt.maintenance_interval = 1\nmax_worker_processes = 16\nlog_min_messages = info\n");

# A column of a row of maintenance_status.
sub status
{
	my ($column, $task, $database) = @_;
	$database //= 'postgres';
	return ask($node, "SELECT $column FROM chatcrypt.maintenance_status WHERE database = '$database' AND task = '$task'");
}

sub becomes
{
	my ($wanted, $name, @what) = @_;
	my $is;
	wait_until(30, sub { ($is = status(@what)) =~ $wanted });
	like($is, $wanted, $name);
	return;
}

sub set
{
	my ($name, $value) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET $name = $value");
	$node->reload;
	return;
}

# Waits until a round that has not begun yet has ended.
sub another_round
{
	my ($database) = @_;
	my $runs = status('runs', 'round', $database) || 0;
	ok(wait_until(30, sub { status('last_success > last_start AND runs > ' . ($runs + 1), 'round', $database) eq 't' }),
		'another round of maintenance ends');
	return;
}

sub processes
{
	my ($server, $name) = @_;
	my $postmaster = (split /\n/, slurp_file($server->data_dir . '/postmaster.pid'))[0];
	return map { /^\s*(\d+)/ } grep { /chatcrypt maintenance$name/ } split /\n/, `ps -o pid=,args= --ppid $postmaster`;
}

# Replaces seal_events of a database by a procedure with this body.
sub replace_task
{
	my ($database, $body) = @_;
	$node->safe_psql($database, <<"SQL");
SET client_min_messages = error;
ALTER EXTENSION chatcrypt DROP FUNCTION chatcrypt.seal_events(bigint);
DROP FUNCTION chatcrypt.seal_events(bigint);
CREATE PROCEDURE chatcrypt.seal_events() LANGUAGE plpgsql AS \$\$ BEGIN $body END \$\$;
SQL
	return;
}

sub restore_task
{
	my ($database) = @_;
	$node->safe_psql($database, <<'SQL');
DROP PROCEDURE chatcrypt.seal_events();
CREATE FUNCTION chatcrypt.seal_events(max_events bigint DEFAULT 10000)
	RETURNS bigint LANGUAGE c STRICT VOLATILE PARALLEL UNSAFE AS '$libdir/chatcrypt', 'chatcrypt_seal_events';
ALTER EXTENSION chatcrypt ADD FUNCTION chatcrypt.seal_events(bigint);
SQL
	return;
}

# Nothing happens unless it is configured.
is(ask($node, 'SELECT count(*) FROM chatcrypt.maintenance_status'), '0', 'no database is maintained by default');
is(scalar(processes($node, ' launcher')), 1, 'the launcher runs');

# A list: one database that exists, one that does not, one with an odd name, one without chatcrypt.
like(ask($node, q{ALTER SYSTEM SET chatcrypt.maintenance_databases = 'a,,b'}),
	qr/invalid value for parameter "chatcrypt.maintenance_databases"/,
		'a value of maintenance_databases that is no list is refused');
$node->safe_psql('postgres', 'CREATE DATABASE "Odd, name"; CREATE DATABASE plain');
$node->safe_psql('Odd, name', 'CREATE EXTENSION chatcrypt; SELECT chatcrypt.create_chat(1)');
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chat(1)');
set('chatcrypt.maintenance_databases', q{'POSTGRES, missing, "Odd, name", plain'});
becomes(qr/^1$/, 'events are sealed in postgres', 'items', 'seal_events');
becomes(qr/^1$/,
	'events are sealed in a database with an odd name', 'items', 'seal_events', 'Odd, name');
is(ask($node, 'SELECT count(*) FROM chatcrypt.verify_events()', $_), '0', "the chain of $_ verifies") foreach 'postgres', 'Odd, name';
becomes(qr/could not connect: see the server log/,
	'a database that does not exist: the status says that it could not connect', 'last_error', 'round', 'missing');
like(slurp_file($node->logfile), qr/FATAL:  database "missing" does not exist/,
	'a database that does not exist: the log says so');
becomes(qr/does not have the extension chatcrypt/,
	'a database without chatcrypt: the status says so', 'last_error', 'round', 'plain');
becomes(qr/^[2-9]$/,
	'a database that does not exist is tried again', 'failures', 'round', 'missing');
is(status('last_success IS NULL AND next_due - last_error_at BETWEEN $$2s$$ AND $$600s$$', 'round', 'missing'), 't',
	'a database that does not exist is tried again later each time');
another_round();
is(status('failures || last_error', 'round'), '',
	'databases with errors do not hold up the others');
is(status('items', 'seal_events'), '1', 'nothing is sealed where there are no new events');
$node->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(1)');
becomes(qr/^2$/, 'new events are sealed', 'items', 'seal_events');
$node->safe_psql('plain', 'CREATE EXTENSION chatcrypt; SELECT chatcrypt.create_chat(1)');
becomes(qr/^1$/,
	'a database is maintained as soon as chatcrypt is created in it', 'items', 'seal_events', 'plain');

# Between rounds the worker is connected to no database.
is(ask($node, 'DROP DATABASE "Odd, name"'), '', 'DROP DATABASE works between rounds');
is(ask($node, 'SET chatcrypt.allow_drop = on; DROP EXTENSION chatcrypt', 'plain'), '',
	'DROP EXTENSION works between rounds');
becomes(qr/could not connect/,
	'the status says that a dropped database could not be connected to', 'last_error', 'round', 'Odd, name');
becomes(qr/does not have the extension/,
	'the status says that a dropped extension is missing', 'last_error', 'round', 'plain');
another_round();
is(ask($node, 'DROP DATABASE plain'), '', 'DROP DATABASE works between rounds once more');

# A task that fails: the error is shown, it is tried later each time, and affects no other task or
# round.
set('chatcrypt.maintenance_databases', q{'postgres'});
$node->safe_psql('postgres', 'CREATE TABLE mark (what text, who text DEFAULT current_user)');
replace_task('postgres', q{INSERT INTO public.mark VALUES ('committed'); COMMIT; INSERT INTO public.mark VALUES ('not'); RAISE EXCEPTION 'no luck' USING DETAIL = 'Today.';});
becomes(qr/^no luck: Today\.$/, 'a task that fails says why', 'last_error', 'seal_events');
like(ask($node, q{SELECT string_agg(DISTINCT what, ' ') FROM mark}), qr/^committed$/,
	'what a failed task committed stays, and nothing else');
becomes(qr/^[2-9]$/, 'a failed task is tried again', 'failures', 'seal_events');
is(status('next_due - last_error_at >= $$4s$$', 'seal_events'), 't',
	'a failed task is tried again later each time');
another_round();
like(slurp_file($node->logfile), qr/ERROR:  no luck\n.*DETAIL:  Today\.\n.*CONTEXT:.*\n.*STATEMENT:  CALL chatcrypt\.seal_events\(\)/,
	'the error of a failed task is logged');
my ($code, $out, $err) = $node->psql('postgres', 'CALL chatcrypt.run_maintenance()');
is($code, 0, 'run_maintenance() completes when a task fails');
like($err, qr/WARNING:  maintenance task seal_events: no luck: Today\./,
	'run_maintenance() warns of a failed task');

# A task that takes long: it is shown, canceled, and terminated.
sub replace_by_sleep
{
	$node->safe_psql('postgres', q{CREATE OR REPLACE PROCEDURE chatcrypt.seal_events() LANGUAGE plpgsql AS $$ BEGIN
		PERFORM chatcrypt.note_progress('seal_events', done => 7, total => 9); PERFORM pg_sleep(600); END $$});
	return;
}
replace_by_sleep();
my $caller = session($node);
my $tasks = q{SELECT pid FROM chatcrypt.progress WHERE task = 'seal_events' AND database = 'postgres' AND done = 7 AND total = 9};
start($caller, 'CALL chatcrypt.run_maintenance()');
ok(wait_until(30, sub { ask($node, $tasks) =~ /^\d+$/ }), 'progress shows a running task');
is(status('running', 'seal_events'), 't', 'maintenance_status shows a running task');
my $pid = ask($node, $tasks);
is(ask($node, "SELECT application_name || ': ' || query FROM pg_stat_activity WHERE pid = $pid"),
	'chatcrypt maintenance: CALL chatcrypt.seal_events()', 'pg_stat_activity shows a running task');
is(ask($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND query LIKE 'CALL chatcrypt.run%'}), '0',
	'the caller of run_maintenance() holds no snapshot while it waits');
is(ask($node, "SELECT pg_cancel_backend($pid)"), 't', 'a running task can be canceled');
is(outcome($caller), '', 'canceling a task does not cancel the round');
is(status('last_error', 'seal_events'), 'canceling statement due to user request',
	'a canceled task counts as a failure');
is(ask($node, q{SELECT count(*) FROM chatcrypt.progress}), '0', 'progress shows no canceled task');

start($caller, 'CALL chatcrypt.run_maintenance()');
ok(wait_until(30, sub { ask($node, $tasks) =~ /^\d+$/ }), 'progress shows the running task again');
is(ask($node, "SELECT pg_terminate_backend((" . $tasks . "))"), 't',
	'a running task can be terminated');
like(outcome($caller), qr/ERROR:  the maintenance of this database did not come to its end/,
	'terminating a task ends the round with an error');
is(status('last_error', $_), 'the worker ended before it was done: see the server log',
	"maintenance_status says that a worker was terminated in $_") foreach 'seal_events', 'round';
is(ask($node, q{SELECT count(*) FROM chatcrypt.progress}), '0',
	'progress shows no terminated task');

$caller->quit;
my $before = status('failures', 'seal_events');
($code, $out, $err) = $node->psql('postgres', q{SET statement_timeout = '2s'; CALL chatcrypt.run_maintenance()});
like($err, qr/canceling statement due to statement timeout/,
	'a caller of run_maintenance() is canceled by statement_timeout');
ok(wait_until(10, sub { ask($node, $tasks) eq '' }), 'the worker ends when its caller is canceled');

restore_task('postgres');
$node->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(1)');
is(ask($node, 'CALL chatcrypt.run_maintenance()'), '',
	'run_maintenance() succeeds with the original task');
becomes(qr/^3$/, 'the original task seals new events', 'items', 'seal_events');
is(status('last_success > last_error_at AND next_due - last_start < $$2s$$', 'seal_events'), 't',
	'a task that succeeds again is due at the usual time');

# A purge waits for older transactions; the session that asked for it is not one of them.
$node->safe_psql('postgres', q{SELECT chatcrypt.create_chat(2); UPDATE chatcrypt.chat SET external_envelopes = false WHERE chat_id = chatcrypt.to_uuid(2);
	SELECT chatcrypt.rotate_chat(2)});
set('chatcrypt.maintenance_interval', q{'1h'});
my $began = time;
is(ask($node, 'CALL chatcrypt.run_maintenance()'), '',
	'run_maintenance() runs where a key is needed by no envelope');
is(ask($node, 'SELECT state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(2) AND dek_version = 1'), 'destroyed',
	'run_maintenance() purges a key that no envelope needs');
cmp_ok(time - $began, '<', 20, 'the purge does not wait until its patience ends');
is(status('last_error', 'purge_unused_keys'), '', 'no transaction is in the way of the purge');

# An older transaction is in the way: the round reports it, and the key is purged in the next round.
$node->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(2)');
$caller = session($node);
my $older = session($node);
answer($older, 'BEGIN; SELECT count(*) FROM chatcrypt.chat');
start($caller, 'CALL chatcrypt.run_maintenance()');
ok(wait_until(30, sub { ask($node, q{SELECT waits_for FROM chatcrypt.progress}) eq answer($older, 'SELECT pg_backend_pid()') }),
	'progress names the session that a purge waits for');
like(outcome($caller), qr/^$/, 'a round completes while a purge has to wait');
is(status('last_error || $$|$$ || partial_failures', 'purge_unused_keys'), '1 older transactions did not end in time|1',
	'maintenance_status says what was in the way of the purge');
answer($older, 'ROLLBACK');
is(ask($node, 'CALL chatcrypt.run_maintenance()'), '', 'the next round completes');
is(ask($node, 'SELECT state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(2) AND dek_version = 2'), 'destroyed',
	'the next round purges the key that was left');

# The history is sealed first, and without waiting for a session that holds it.
answer($older, 'BEGIN; SELECT chatcrypt.rotate_chat(1); SELECT chatcrypt.seal_events()');
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chat(3)');
$began = time;
($code, $out, $err) = $node->psql('postgres', 'CALL chatcrypt.run_maintenance()');
like($err, qr/WARNING:  maintenance task seal_events: canceling statement due to lock timeout/,
	'a round warns where another session seals in a long transaction');
cmp_ok(time - $began, '<', 20,
	'a session that seals in a long transaction does not hold up the round');
is(ask($node, q{SELECT min(last_start) = min(last_start) FILTER (WHERE task = 'seal_events') FROM chatcrypt.maintenance_status WHERE database = 'postgres' AND task <> 'round'}),
	't', 'sealing is the first task of a round');
answer($older, 'ROLLBACK');
$older->quit;

# What the log says of rounds from this moment.
my $log;
sub lines_of_rounds { return map { /LOG:  maintenance of database "postgres": (.*)/ } split /\n/, slurp_file($node->logfile, $log); }

# The log has one line for a round, and one for a task that failed in part, however many chats there
# are; none for tasks that did nothing.
$node->safe_psql('postgres', q{SELECT chatcrypt.create_tenant('away', 'local:main'); SELECT count(chatcrypt.create_chat(n, tenant => 'away')) FROM generate_series(100, 140) AS n;
	SELECT count(chatcrypt.create_chat(n)) FROM generate_series(200, 240) AS n;
	UPDATE chatcrypt.chat SET rotate_after = '1 microsecond' WHERE chat_id >= chatcrypt.to_uuid(100);
	UPDATE chatcrypt.tenant SET kms_key = 'local:nosuchkey' WHERE tenant = 'away'});
$node->safe_psql('postgres', q{INSERT INTO chatcrypt.messages (chat_id, body, expires_at) SELECT chatcrypt.to_uuid(1), 'old', '2020-01-01' FROM generate_series(1, 7)});
answer($caller, 'BEGIN; SELECT FROM chatcrypt.chat WHERE chat_id BETWEEN chatcrypt.to_uuid(201) AND chatcrypt.to_uuid(205) FOR UPDATE');
$log = -s $node->logfile;
ask($node, 'CALL chatcrypt.run_maintenance()');
my @lines = lines_of_rounds();
is(scalar(@lines), 2,
	'a round in which one task fails in part writes two lines') or diag(join "\n", @lines);
like($lines[0], qr/^rotate_due did 36, but 46 of 82 failed; the first: /,
	'the first line says how many chats of how many failed, and why');
like($lines[1], qr/^seal_events did \d+, apply_retention did 7$/,
	'the second line names each other task that did something, and no more');
is(scalar(grep { /could not|keeps its key/ } grep { !/CALL chatcrypt\.run_maintenance/ } split /\n/, slurp_file($node->logfile, $log)), 1,
	'the log has one line with the error, and not one for each chat');
answer($caller, 'ROLLBACK');
$caller->quit;

# A failure that repeats is counted each time, and logged once a minute.  What the task did is
# logged each time.
$log = -s $node->logfile;
my $partial = status('partial_failures', 'rotate_due');
ask($node, 'CALL chatcrypt.run_maintenance()') foreach 1 .. 3;
is(status('partial_failures', 'rotate_due') - $partial, 3, 'three rounds that fail in the same way are counted');
my @again = grep { /failed/ } lines_of_rounds();
is(scalar(@again), 1, 'three rounds that fail in the same way write one line of the failure');
like($again[0], qr/^rotate_due did 41, but 41 of 82 failed; the first: could not make the data key of chat 100 version 2, and the other keys of "local:nosuchkey" are left as they are: /,
	'the line of a repeated failure names the key');
is_deeply([ map { s/seal_events did \d+/seal_events did N/r } grep { !/failed/ } lines_of_rounds() ],
	[ 'seal_events did N', ('seal_events did N, rotate_due did 41') x 2 ],
		'each of three rounds that fail in the same way has a line of its own for what it did');

# A round that finds nothing to do logs nothing, and a round that is terminated logs what it did
# until then.
$node->safe_psql('postgres', 'DELETE FROM chatcrypt.chat WHERE chat_id >= chatcrypt.to_uuid(100)');
ask($node, 'CALL chatcrypt.run_maintenance()');
$log = -s $node->logfile;
ask($node, 'CALL chatcrypt.run_maintenance()');
is_deeply([ lines_of_rounds() ], [], 'a round that finds nothing to do logs nothing');
$node->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(1), chatcrypt.rotate_chat(1)');
($caller, $older) = (session($node), session($node));
answer($older, 'BEGIN; LOCK TABLE chatcrypt.sealed_message IN ACCESS EXCLUSIVE MODE');
$log = -s $node->logfile;
start($caller, 'CALL chatcrypt.run_maintenance()');
ok(wait_until(30, sub { ask($node, q{SELECT count(*) FROM chatcrypt.progress WHERE waits_for > 0}) eq '1' }), 'a round waits for a lock');
is(ask($node, 'SELECT pg_terminate_backend(pid) FROM chatcrypt.progress'), 't',
	'a round that waits for a lock is terminated');
like(outcome($caller), qr/did not come to its end/,
	'the caller is told that the round did not complete');
like("@{[ lines_of_rounds() ]}", qr/^seal_events did \d+$/,
	'the log tells what the terminated round did');
answer($older, 'ROLLBACK');
$caller->quit;
$older->quit;
set('chatcrypt.maintenance_interval', q{'1s'});
is(ask($node, 'CALL chatcrypt.run_maintenance()'), '',
	'run_maintenance() succeeds with the usual interval');
$node->reload;

# Who may call run_maintenance(), and where.
$node->safe_psql('postgres', 'CREATE ROLE operator; GRANT chatcrypt_admin TO operator; CREATE ROLE app; GRANT chatcrypt_writer TO app');
is(ask($node, 'SET ROLE operator; CALL chatcrypt.run_maintenance()'), '',
	'a member of chatcrypt_admin may call run_maintenance()');
like(ask($node, 'SET ROLE app; CALL chatcrypt.run_maintenance()'), qr/permission denied for procedure run_maintenance/,
	'a role without chatcrypt_admin may not call run_maintenance()');
like(ask($node, 'SET ROLE app; SELECT * FROM chatcrypt.maintenance_status'), qr/permission denied for view maintenance_status/,
	'a role without rights may not see maintenance_status');
like(ask($node, 'BEGIN; CALL chatcrypt.run_maintenance()'), qr/cannot run inside a transaction block/,
	'run_maintenance() is refused in a transaction block');
like(ask($node, 'DO $$ BEGIN PERFORM 1; BEGIN CALL chatcrypt.run_maintenance(); EXCEPTION WHEN division_by_zero THEN NULL; END; END $$'),
	qr/cannot run inside a transaction block|invalid transaction termination|cannot commit while a subtransaction is active/,
		'run_maintenance() is refused in a block with an exception handler');
is(ask($node, 'DO $$ BEGIN CALL chatcrypt.run_maintenance(); END $$'), '',
	'run_maintenance() is allowed in a DO');

# Settings that a database has for applications do not affect maintenance.
my $sealed = status('items', 'seal_events');
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET default_transaction_read_only = on');
$node->safe_psql('postgres', q{SET default_transaction_read_only = off; ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
	ALTER DATABASE postgres SET search_path = 'nowhere'; SELECT chatcrypt.rotate_chat(1)});
becomes(qr/^[1-9]/,
	'events are sealed in a database with a read-only default', "items - $sealed", 'seal_events');
$node->safe_psql('postgres', 'SET default_transaction_read_only = off; ALTER DATABASE postgres RESET ALL');

# The launcher is started again.
kill 'TERM', processes($node, ' launcher') or die 'no launcher';
my $runs = status('runs', 'round');
ok(wait_until(30, sub { status('runs', 'round') > $runs + 2 }),
	'a launcher that was terminated is started again');
is(scalar(processes($node, ' launcher')), 1, 'one launcher is started');
is(ask($node, 'SELECT 1'), '1', 'the server was not restarted with the launcher');

# The list is empty again.
set('chatcrypt.maintenance_databases', q{''});
sleep 2;
$runs = status('runs', 'round');
sleep 3;
is(status('runs', 'round'), $runs, 'no round runs without a database in the list');
is(status('next_due IS NULL', 'round'), 't', 'no round is due without a database in the list');

# A standby maintains nothing until it is promoted.
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
Chatcrypt::Test->share_keys($standby, $node);
$standby->append_conf('postgresql.conf', "chatcrypt.maintenance_databases = 'postgres'\n");
unlink $standby->data_dir . '/postgresql.auto.conf' or die 'no settings to forget';
$standby->append_conf('postgresql.auto.conf', "primary_conninfo = '" . $node->connstr . "'\n");
$standby->start;
$node->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(1)');
$node->wait_for_catchup($standby);
is(scalar(processes($standby, '')), 0, 'a standby has neither launcher nor worker');
like(ask($standby, 'CALL chatcrypt.run_maintenance()'), qr/cannot execute chatcrypt.run_maintenance\(\) (?:during recovery|in a read-only transaction)/,
	'run_maintenance() is refused on a standby');
like(ask($standby, 'SELECT chatcrypt.seal_events()'), qr/cannot execute chatcrypt.seal_events\(\) (?:during recovery|in a read-only transaction)/,
	'seal_events() is refused on a standby');
is(ask($standby, 'SELECT count(*) FROM chatcrypt.verify_events()'), '0',
	'the chain can be verified on a standby');
$node->stop;
$standby->promote;
ok(wait_until(30, sub { ask($standby, q{SELECT items FROM chatcrypt.maintenance_status WHERE task = 'seal_events'}) eq '1' }),
	'a standby is maintained after promotion');
is(ask($standby, 'SELECT count(*) FROM chatcrypt.verify_events()'), '0',
	'the chain verifies after promotion');

$standby->stop;
done_testing();
