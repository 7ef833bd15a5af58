# The maintenance worker: what it does by itself, what it survives, and what it says of it.
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

# Waits for the end of a round that has not begun yet.
sub another_round
{
	my ($database) = @_;
	my $runs = status('runs', 'round', $database) || 0;
	ok(wait_until(30, sub { status('last_success > last_start AND runs > ' . ($runs + 1), 'round', $database) eq 't' }),
		'another round');
	return;
}

sub processes
{
	my ($server, $name) = @_;
	my $postmaster = (split /\n/, slurp_file($server->data_dir . '/postmaster.pid'))[0];
	return map { /^\s*(\d+)/ } grep { /chatcrypt maintenance$name/ } split /\n/, `ps -o pid=,args= --ppid $postmaster`;
}

# seal_events of a database becomes a procedure with this body.
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

# Nothing happens unless it is asked for.
is(ask($node, 'SELECT count(*) FROM chatcrypt.maintenance_status'), '0', 'no database is maintained by default');
is(scalar(processes($node, ' launcher')), 1, 'there is a launcher');

# A list: one database that is there, one that is not, one with an odd name, one without chatcrypt.
like(ask($node, q{ALTER SYSTEM SET chatcrypt.maintenance_databases = 'a,,b'}),
	qr/invalid value for parameter "chatcrypt.maintenance_databases"/, 'a list that is none is refused');
$node->safe_psql('postgres', 'CREATE DATABASE "Odd, name"; CREATE DATABASE plain');
$node->safe_psql('Odd, name', 'CREATE EXTENSION chatcrypt; SELECT chatcrypt.create_chat(1)');
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chat(1)');
set('chatcrypt.maintenance_databases', q{'POSTGRES, missing, "Odd, name", plain'});
becomes(qr/^1$/, 'events are sealed', 'items', 'seal_events');
becomes(qr/^1$/, 'in a database with an odd name', 'items', 'seal_events', 'Odd, name');
is(ask($node, 'SELECT count(*) FROM chatcrypt.verify_events()', $_), '0', "the chain of $_ is whole") foreach 'postgres', 'Odd, name';
becomes(qr/could not connect: see the server log/, 'one that is not there', 'last_error', 'round', 'missing');
like(slurp_file($node->logfile), qr/FATAL:  database "missing" does not exist/, 'is in the log');
becomes(qr/does not have the extension chatcrypt/, 'one without chatcrypt', 'last_error', 'round', 'plain');
becomes(qr/^[2-9]$/, 'is tried again', 'failures', 'round', 'missing');
is(status('last_success IS NULL AND next_due - last_error_at BETWEEN $$2s$$ AND $$600s$$', 'round', 'missing'), 't', 'later each time');
another_round();
is(status('failures || last_error', 'round'), '', 'which does not hold up the others');
is(status('items', 'seal_events'), '1', 'nothing is sealed where there is nothing new');
$node->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(1)');
becomes(qr/^2$/, 'what is new is', 'items', 'seal_events');
$node->safe_psql('plain', 'CREATE EXTENSION chatcrypt; SELECT chatcrypt.create_chat(1)');
becomes(qr/^1$/, 'chatcrypt can come later', 'items', 'seal_events', 'plain');

# Between rounds nobody is connected.
is(ask($node, 'DROP DATABASE "Odd, name"'), '', 'DROP DATABASE');
is(ask($node, 'SET chatcrypt.allow_drop = on; DROP EXTENSION chatcrypt', 'plain'), '', 'DROP EXTENSION');
becomes(qr/could not connect/, 'a database that was dropped', 'last_error', 'round', 'Odd, name');
becomes(qr/does not have the extension/, 'an extension that was dropped', 'last_error', 'round', 'plain');
another_round();
is(ask($node, 'DROP DATABASE plain'), '', 'DROP DATABASE once more');

# A task that fails: in words, later each time, and no other task or round with it.
set('chatcrypt.maintenance_databases', q{'postgres'});
$node->safe_psql('postgres', 'CREATE TABLE mark (what text, who text DEFAULT current_user)');
replace_task('postgres', q{INSERT INTO public.mark VALUES ('committed'); COMMIT; INSERT INTO public.mark VALUES ('not'); RAISE EXCEPTION 'no luck' USING DETAIL = 'Today.';});
becomes(qr/^no luck: Today\.$/, 'a task that fails says why', 'last_error', 'seal_events');
like(ask($node, q{SELECT string_agg(DISTINCT what, ' ') FROM mark}), qr/^committed$/, 'what it committed stays, and no more');
becomes(qr/^[2-9]$/, 'it is tried again', 'failures', 'seal_events');
is(status('next_due - last_error_at >= $$4s$$', 'seal_events'), 't', 'later each time');
another_round();
like(slurp_file($node->logfile), qr/ERROR:  no luck\n.*DETAIL:  Today\.\n.*CONTEXT:.*\n.*STATEMENT:  CALL chatcrypt\.seal_events\(\)/, 'and is logged');
my ($code, $out, $err) = $node->psql('postgres', 'CALL chatcrypt.run_maintenance()');
is($code, 0, 'run_maintenance() comes to its end');
like($err, qr/WARNING:  maintenance task seal_events: no luck: Today\./, 'and warns of it');

# A task that takes long: shown, canceled, ended.
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
ok(wait_until(30, sub { ask($node, $tasks) =~ /^\d+$/ }), 'progress shows what runs');
is(status('running', 'seal_events'), 't', 'and so does maintenance_status');
my $pid = ask($node, $tasks);
is(ask($node, "SELECT application_name || ': ' || query FROM pg_stat_activity WHERE pid = $pid"),
	'chatcrypt maintenance: CALL chatcrypt.seal_events()', 'and pg_stat_activity');
is(ask($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND query LIKE 'CALL chatcrypt.run%'}), '0',
	'whoever waits holds no snapshot');
is(ask($node, "SELECT pg_cancel_backend($pid)"), 't', 'it can be canceled');
is(outcome($caller), '', 'alone');
is(status('last_error', 'seal_events'), 'canceling statement due to user request', 'which counts as a failure');
is(ask($node, q{SELECT count(*) FROM chatcrypt.progress}), '0', 'and ends the progress');

start($caller, 'CALL chatcrypt.run_maintenance()');
ok(wait_until(30, sub { ask($node, $tasks) =~ /^\d+$/ }), 'once more');
is(ask($node, "SELECT pg_terminate_backend((" . $tasks . "))"), 't', 'it can be ended');
like(outcome($caller), qr/ERROR:  the maintenance of this database did not come to its end/, 'with the round');
is(status('last_error', $_), 'the worker ended before it was done: see the server log', "as $_ says") foreach 'seal_events', 'round';
is(ask($node, q{SELECT count(*) FROM chatcrypt.progress}), '0', 'and progress shows it no more');

$caller->quit;
my $before = status('failures', 'seal_events');
($code, $out, $err) = $node->psql('postgres', q{SET statement_timeout = '2s'; CALL chatcrypt.run_maintenance()});
like($err, qr/canceling statement due to statement timeout/, 'a caller who is canceled');
ok(wait_until(10, sub { ask($node, $tasks) eq '' }), 'takes the worker along');

restore_task('postgres');
$node->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(1)');
is(ask($node, 'CALL chatcrypt.run_maintenance()'), '', 'a good task');
becomes(qr/^3$/, 'goes on where it was', 'items', 'seal_events');
is(status('last_success > last_error_at AND next_due - last_start < $$2s$$', 'seal_events'), 't', 'and is due at the usual time');

# A purge waits for older transactions, and the session that asked for it is none of them.
$node->safe_psql('postgres', q{SELECT chatcrypt.create_chat(2); UPDATE chatcrypt.chat SET external_envelopes = false WHERE chat_id = chatcrypt.to_uuid(2);
	SELECT chatcrypt.rotate_chat(2)});
set('chatcrypt.maintenance_interval', q{'1h'});
my $began = time;
is(ask($node, 'CALL chatcrypt.run_maintenance()'), '', 'run_maintenance() with a key that nothing needs');
is(ask($node, 'SELECT state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(2) AND dek_version = 1'), 'destroyed', 'purges it');
cmp_ok(time - $began, '<', 20, 'before the patience for others would end');
is(status('last_error', 'purge_unused_keys'), '', 'and nobody was in its way');

# Somebody else is: the round says so, and the key goes with the next one.
$node->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(2)');
$caller = session($node);
my $older = session($node);
answer($older, 'BEGIN; SELECT count(*) FROM chatcrypt.chat');
start($caller, 'CALL chatcrypt.run_maintenance()');
ok(wait_until(30, sub { ask($node, q{SELECT waits_for FROM chatcrypt.progress}) eq answer($older, 'SELECT pg_backend_pid()') }),
	'progress names the session that a purge waits for');
like(outcome($caller), qr/^$/, 'the round comes to its end');
is(status('last_error || $$|$$ || partial_failures', 'purge_unused_keys'), '1 older transactions did not end in time|1', 'and says what was in its way');
answer($older, 'ROLLBACK');
is(ask($node, 'CALL chatcrypt.run_maintenance()'), '', 'the next round');
is(ask($node, 'SELECT state FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(2) AND dek_version = 2'), 'destroyed', 'purges what is left');

# The history is sealed first, and without waiting for a session that holds it.
answer($older, 'BEGIN; SELECT chatcrypt.rotate_chat(1); SELECT chatcrypt.seal_events()');
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chat(3)');
$began = time;
($code, $out, $err) = $node->psql('postgres', 'CALL chatcrypt.run_maintenance()');
like($err, qr/WARNING:  maintenance task seal_events: canceling statement due to lock timeout/, 'a session that seals in a long transaction');
cmp_ok(time - $began, '<', 20, 'does not hold up the round');
is(ask($node, q{SELECT min(last_start) = min(last_start) FILTER (WHERE task = 'seal_events') FROM chatcrypt.maintenance_status WHERE database = 'postgres' AND task <> 'round'}),
	't', 'sealing comes first');
answer($older, 'ROLLBACK');
$older->quit;

# What the log says of rounds since this moment.
my $log;
sub lines_of_rounds { return map { /LOG:  maintenance of database "postgres": (.*)/ } split /\n/, slurp_file($node->logfile, $log); }

# One line of the log for a round, and one for a task that failed in part, however many chats; none for what did nothing.
$node->safe_psql('postgres', q{SELECT chatcrypt.create_tenant('away', 'local:main'); SELECT count(chatcrypt.create_chat(n, tenant => 'away')) FROM generate_series(100, 140) AS n;
	SELECT count(chatcrypt.create_chat(n)) FROM generate_series(200, 240) AS n;
	UPDATE chatcrypt.chat SET rotate_after = '1 microsecond' WHERE chat_id >= chatcrypt.to_uuid(100);
	UPDATE chatcrypt.tenant SET kms_key = 'local:nosuchkey' WHERE tenant = 'away'});
$node->safe_psql('postgres', q{INSERT INTO chatcrypt.messages (chat_id, body, expires_at) SELECT chatcrypt.to_uuid(1), 'old', '2020-01-01' FROM generate_series(1, 7)});
answer($caller, 'BEGIN; SELECT FROM chatcrypt.chat WHERE chat_id BETWEEN chatcrypt.to_uuid(201) AND chatcrypt.to_uuid(205) FOR UPDATE');
$log = -s $node->logfile;
ask($node, 'CALL chatcrypt.run_maintenance()');
my @lines = lines_of_rounds();
is(scalar(@lines), 2, 'a round in which one task fails in part is two lines') or diag(join "\n", @lines);
like($lines[0], qr/^rotate_due did 36, but 46 of 82 failed; the first: /, 'one says how many of how many failed, and why');
like($lines[1], qr/^seal_events did \d+, apply_retention did 7$/, 'the other names each other task that did something, and no more');
is(scalar(grep { /could not|keeps its key/ } grep { !/CALL chatcrypt\.run_maintenance/ } split /\n/, slurp_file($node->logfile, $log)), 1,
	'nothing says so for each chat');
answer($caller, 'ROLLBACK');
$caller->quit;

# What fails again in the same way is counted each time, and logged once a minute.  What the task did is told each time.
$log = -s $node->logfile;
my $partial = status('partial_failures', 'rotate_due');
ask($node, 'CALL chatcrypt.run_maintenance()') foreach 1 .. 3;
is(status('partial_failures', 'rotate_due') - $partial, 3, 'three rounds that fail in the same way are counted');
my @again = grep { /failed/ } lines_of_rounds();
is(scalar(@again), 1, 'and are one line');
like($again[0], qr/^rotate_due did 41, but 41 of 82 failed; the first: could not make the data key of chat 100 version 2, and the other keys of "local:nosuchkey" are left as they are: /,
	'that names the key');
is_deeply([ map { s/seal_events did \d+/seal_events did N/r } grep { !/failed/ } lines_of_rounds() ],
	[ 'seal_events did N', ('seal_events did N, rotate_due did 41') x 2 ], 'and each round has its own');

# A round that finds nothing to do says nothing, and one that is ended tells what it did until then.
$node->safe_psql('postgres', 'DELETE FROM chatcrypt.chat WHERE chat_id >= chatcrypt.to_uuid(100)');
ask($node, 'CALL chatcrypt.run_maintenance()');
$log = -s $node->logfile;
ask($node, 'CALL chatcrypt.run_maintenance()');
is_deeply([ lines_of_rounds() ], [], 'a round that finds nothing to do says nothing');
$node->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(1), chatcrypt.rotate_chat(1)');
($caller, $older) = (session($node), session($node));
answer($older, 'BEGIN; LOCK TABLE chatcrypt.sealed_message IN ACCESS EXCLUSIVE MODE');
$log = -s $node->logfile;
start($caller, 'CALL chatcrypt.run_maintenance()');
ok(wait_until(30, sub { ask($node, q{SELECT count(*) FROM chatcrypt.progress WHERE waits_for > 0}) eq '1' }), 'a round that waits for a lock');
is(ask($node, 'SELECT pg_terminate_backend(pid) FROM chatcrypt.progress'), 't', 'is ended');
like(outcome($caller), qr/did not come to its end/, 'as its caller is told');
like("@{[ lines_of_rounds() ]}", qr/^seal_events did \d+$/, 'and the log tells what it did');
answer($older, 'ROLLBACK');
$caller->quit;
$older->quit;
set('chatcrypt.maintenance_interval', q{'1s'});
is(ask($node, 'CALL chatcrypt.run_maintenance()'), '', 'a round at the usual interval');
$node->reload;

# Who may call it, and where.
$node->safe_psql('postgres', 'CREATE ROLE operator; GRANT chatcrypt_admin TO operator; CREATE ROLE app; GRANT chatcrypt_writer TO app');
is(ask($node, 'SET ROLE operator; CALL chatcrypt.run_maintenance()'), '', 'chatcrypt_admin may call it');
like(ask($node, 'SET ROLE app; CALL chatcrypt.run_maintenance()'), qr/permission denied for procedure run_maintenance/, 'others not');
like(ask($node, 'SET ROLE app; SELECT * FROM chatcrypt.maintenance_status'), qr/permission denied for view maintenance_status/, 'nor see the status');
like(ask($node, 'BEGIN; CALL chatcrypt.run_maintenance()'), qr/cannot run inside a transaction block/, 'not in a transaction block');
like(ask($node, 'DO $$ BEGIN PERFORM 1; BEGIN CALL chatcrypt.run_maintenance(); EXCEPTION WHEN division_by_zero THEN NULL; END; END $$'),
	qr/cannot run inside a transaction block|invalid transaction termination|cannot commit while a subtransaction is active/, 'nor in a block with an exception handler');
is(ask($node, 'DO $$ BEGIN CALL chatcrypt.run_maintenance(); END $$'), '', 'but in a DO');

# Settings that databases have for applications are not for this.
my $sealed = status('items', 'seal_events');
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET default_transaction_read_only = on');
$node->safe_psql('postgres', q{SET default_transaction_read_only = off; ALTER DATABASE postgres SET default_transaction_isolation = 'serializable';
	ALTER DATABASE postgres SET search_path = 'nowhere'; SELECT chatcrypt.rotate_chat(1)});
becomes(qr/^[1-9]/, 'a read-only default', "items - $sealed", 'seal_events');
$node->safe_psql('postgres', 'SET default_transaction_read_only = off; ALTER DATABASE postgres RESET ALL');

# The launcher comes back.
kill 'TERM', processes($node, ' launcher') or die 'no launcher';
my $runs = status('runs', 'round');
ok(wait_until(30, sub { status('runs', 'round') > $runs + 2 }), 'a launcher that was ended is started again');
is(scalar(processes($node, ' launcher')), 1, 'once');
is(ask($node, 'SELECT 1'), '1', 'and nobody else was');

# Not in the list any more.
set('chatcrypt.maintenance_databases', q{''});
sleep 2;
$runs = status('runs', 'round');
sleep 3;
is(status('runs', 'round'), $runs, 'no round without a database in the list');
is(status('next_due IS NULL', 'round'), 't', 'nor is one due');

# A standby has nothing to maintain, until it is promoted.
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
like(ask($standby, 'CALL chatcrypt.run_maintenance()'), qr/cannot execute chatcrypt.run_maintenance\(\) (?:during recovery|in a read-only transaction)/, 'nor can they be called for');
like(ask($standby, 'SELECT chatcrypt.seal_events()'), qr/cannot execute chatcrypt.seal_events\(\) (?:during recovery|in a read-only transaction)/, 'nothing is sealed there');
is(ask($standby, 'SELECT count(*) FROM chatcrypt.verify_events()'), '0', 'but the chain can be verified');
$node->stop;
$standby->promote;
ok(wait_until(30, sub { ask($standby, q{SELECT items FROM chatcrypt.maintenance_status WHERE task = 'seal_events'}) eq '1' }),
	'after promotion it is maintained');
is(ask($standby, 'SELECT count(*) FROM chatcrypt.verify_events()'), '0', 'and the chain goes on');

$standby->stop;
done_testing();
