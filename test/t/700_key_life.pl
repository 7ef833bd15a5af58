# At whatever moment the server dies in rotate_due, rewrap and move_kms_key: every key opens, every
# message reads, no history has a gap, and calling it once more does the rest.
use strict;
use warnings;
use Chatcrypt::FaultProxy;
use Chatcrypt::OpenBao;
use Chatcrypt::Test qw(wait_until);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $CHATS = 600;	# more than one page, and less than two
my $PAGE = 480;

my $bao = Chatcrypt::OpenBao->start_or_skip;
my $other = $bao->add_key('other');
my $proxy = Chatcrypt::FaultProxy->start($bao);
my $node = Chatcrypt::Test->start('life', bao => $bao, proxy => $proxy, conf => <<'CONF');
chatcrypt.kms_timeout = '60s'
wal_level = replica
max_wal_senders = 2
restart_after_crash = on
CONF

$node->safe_psql('postgres', <<"SQL");
SELECT chatcrypt.create_tenant('t', '$other');
SELECT chatcrypt.create_chats(array_agg(n), tenant => 't') FROM generate_series(1::bigint, $CHATS) AS n;
INSERT INTO chatcrypt.messages (message_id, chat_id, body)
	SELECT chatcrypt.to_uuid(n), chatcrypt.to_uuid(n), 'body ' || n FROM generate_series(1, $CHATS) AS n;
CREATE FUNCTION stop_here() RETURNS trigger LANGUAGE plpgsql AS
	'BEGIN PERFORM pg_advisory_lock(7); PERFORM pg_advisory_unlock(7); RETURN NULL; END';
SQL

sub value { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

my @children;

# A psql that runs in the background, until its statement or its server ends.
sub background
{
	my ($sql) = @_;
	my $child = { output => '', error => '' };
	$child->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $sql ],
		'<', \undef, '>', \$child->{output}, '2>', \$child->{error});
	push @children, $child;
	return $child;
}

sub waits_for
{
	my ($event) = @_;
	return sub {
		value(qq{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL%' AND wait_event = '$event'}) eq '1';
	};
}

# Holds a lock that the call will need, and tells when the call waits for it.
sub holder
{
	my ($sql, $event) = @_;
	return sub {
		background("BEGIN; $sql; SELECT pg_sleep(600) /* holds */");
		wait_until(30, sub { value(q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'}) eq '1' })
		  or die 'nobody holds';
		return waits_for($event);
	};
}

# Places to stop at.  Each sets up the obstacle, and returns a question: has the call come to it?
sub in_kms
{
	my ($path) = @_;
	return sub {
		$proxy->reset;
		$proxy->fault(path => "/$path/", delay_ms => 50000);
		return sub { $proxy->requests("/$path/") > 0 };
	};
}

# Lets this many requests pass first: the first ones are the trial of the key at the KMS.
sub in_kms_after
{
	my ($path, $skip) = @_;
	return sub {
		$proxy->reset;
		$proxy->fault(path => "/$path/", delay_ms => 50000, skip => $skip);
		return sub { $proxy->requests("/$path/") > $skip };
	};
}

sub before_rows { my ($table) = @_; return holder("LOCK TABLE chatcrypt.$table IN EXCLUSIVE MODE", 'relation'); }

sub before_commit
{
	my ($event, $chat) = @_;
	my $hold = holder('SELECT pg_advisory_lock(7)', 'advisory');
	return sub {
		value("CREATE TRIGGER stop_here AFTER INSERT ON chatcrypt.key_event FOR EACH ROW "
			  . "WHEN (new.event = '$event' AND new.chat_id = chatcrypt.to_uuid($chat)) EXECUTE FUNCTION stop_here()");
		return $hold->();
	};
}

# In the WAL, but not yet reported to the client: the commit waits for a synchronous standby, and
# there is none.
sub after_commit
{
	return sub {
		value(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
		value('SELECT pg_reload_conf()');
		wait_until(30, sub { value('SHOW synchronous_standby_names') eq 'nobody' }) or die 'no reload';
		return waits_for('SyncRep');
	};
}

my $deaths = 0;

# By turns: the whole server, without a shutdown; and the calling backend, after which the server
# restarts itself.
sub die_now
{
	if ($deaths++ % 2)
	{
		$node->stop('immediate');
	}
	else
	{
		my $pid = value(q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL%' AND pid <> pg_backend_pid()});
		my $log = -s $node->logfile;
		kill 'KILL', $pid or die "no process $pid";
		wait_until(30, sub { slurp_file($node->logfile, $log) =~ /all server processes terminated; reinitializing/ })
		  or die 'no crash';
		wait_until(60, sub { ($node->psql('postgres', 'SELECT 1'))[0] == 0 }) or die 'no recovery';
	}
}

sub recover
{
	$_->{run}->kill_kill(grace => 1) foreach @children;
	@children = ();
	$proxy->clear;
	$node->start if !-e $node->data_dir . '/postmaster.pid';
	value('ALTER SYSTEM RESET synchronous_standby_names');
	value('SELECT pg_reload_conf()');
	wait_until(30, sub { value('SHOW synchronous_standby_names') eq '' }) or die 'no reload';
	value('DROP TRIGGER IF EXISTS stop_here ON chatcrypt.key_event');
	return;
}

# Nothing is lost, however much of the call was done.
sub check_everything
{
	my ($where) = @_;
	is(value('SELECT count(*) FROM chatcrypt.verify_keys()'), '0', "$where: every key opens");
	is(value(q{SELECT count(*) FROM generate_series(1, } . $CHATS . q{) AS n JOIN chatcrypt.messages
		ON message_id = chatcrypt.to_uuid(n) AND body = 'body ' || n}), $CHATS, "$where: every message reads");
	is(value(q{SELECT count(*) FROM chatcrypt.dek WHERE state = 'active'}), $CHATS, "$where: every chat has one active key");
	is(value(q{SELECT count(*) FROM (SELECT valid_from, lag(valid_to) OVER (PARTITION BY chat_id ORDER BY dek_version) AS before,
		dek_version FROM chatcrypt.dek) AS k WHERE dek_version > 1 AND before IS DISTINCT FROM valid_from}), '0',
		"$where: no history has a gap");
	is(value(q{SELECT count(*) FROM generate_series(1, } . $CHATS . q{, 50) AS n
		WHERE chatcrypt.decrypt(chatcrypt.to_uuid(n), chatcrypt.to_uuid(n), chatcrypt.encrypt(chatcrypt.to_uuid(n), chatcrypt.to_uuid(n), 'x')) = 'x'}),
		$CHATS / 50, "$where: new messages are sealed");
	return;
}

# Makes the call, waits until it stops at the place, ends it there, and checks what is left.
sub dies
{
	my ($where, $call, $place, $done, $expected) = @_;
	my $reached = $place->();
	my $child = background("CALL $call");
	if (!ok(wait_until(60, $reached), "$where: the call has stopped there"))
	{
		diag("$child->{output}$child->{error}");
	}
	die_now();
	recover();
	is(value($done), $expected, "$where: the call had done as much as expected");
	check_everything($where);
	return;
}

# ---------- rotate_due ----------

my $rotated = q{SELECT count(*) FROM chatcrypt.key_event WHERE event = 'rotate'};
my $before = 0;
my @rotations = (
	[ 'rotate_due, keys not made yet', in_kms('encrypt'), 0 ],
	[ 'rotate_due, before a row is written', before_rows('chat'), 0 ],
	[ 'rotate_due, first chat, before the commit', before_commit('rotate', 1), 0 ],
	[ 'rotate_due, first chat, after the commit', after_commit(), 1 ],
	# chat 1 comes last now: its key is the youngest
	[ 'rotate_due, chat 300, before the commit', before_commit('rotate', 300), 298 ],
);
foreach my $stop (@rotations)
{
	my ($where, $place, $done) = @$stop;
	$before = value($rotated);
	dies($where, q{chatcrypt.rotate_due(max_age => '0')}, $place, $rotated, $before + $done);
}
is(value(q{CALL chatcrypt.rotate_due(max_age => '0')}), "$CHATS|0",
	'rotate_due, called once more, rotates every chat');
check_everything('rotate_due, once more');

# ---------- rewrap ----------

my $keys = value('SELECT count(*) FROM chatcrypt.dek');
my $version = 1;
my @rewraps = (
	[ 'rewrap, while the KMS wraps', in_kms('rewrap'), 0 ],
	[ 'rewrap, while the new wrappings are checked', in_kms_after('decrypt', 1), 0 ],
	[ 'rewrap, checked, before a row is written', before_rows('dek'), 0 ],
	[ 'rewrap, rows written, before the commit', before_commit('rewrap', 3), 0 ],
	[ 'rewrap, after the commit', after_commit(), $PAGE ],
	[ 'rewrap, in the second page', before_commit('rewrap', 500), $PAGE ],
);
foreach my $stop (@rewraps)
{
	my ($where, $place, $done) = @$stop;
	$bao->cli('write', '-f', 'transit/keys/other/rotate');
	$version++;
	my $at_version = "SELECT coalesce(sum(data_keys), 0) FROM chatcrypt.kms_key_usage() WHERE key_version = $version";
	dies($where, "chatcrypt.rewrap(kms_key => '$other')", $place, $at_version, $done);
	$proxy->reset;
	is(value("CALL chatcrypt.rewrap(kms_key => '$other')"), ($keys - $done) . '|0',
		"$where: a call once more does the rest");
	cmp_ok($proxy->requests('/rewrap/'), '<=', ($keys - $done) / 200 + 1,
		"$where: the call once more re-wraps in large batches");
	cmp_ok($proxy->requests('/decrypt/'), '<=', ($keys - $done) / 200 + 2,
		"$where: the call once more checks in large batches");
	is(value($at_version), $keys,
		"$where: every key is at the new version after the call once more");
}
check_everything('rewrap, once more');
$bao->cli('write', 'transit/keys/other/config', "min_decryption_version=$version");
$node->restart;
check_everything('with the old versions below the minimum');

# ---------- move_kms_key ----------

my @moves = (
	[ 'move_kms_key, to a key file, while the KMS unwraps', in_kms('decrypt'), 0 ],
	[ 'move_kms_key, to Vault, while the KMS wraps', in_kms_after('encrypt', 1), 0 ],
	[ 'move_kms_key, to a key file, rows written, before the commit', before_commit('move', 3), 0 ],
	[ 'move_kms_key, to Vault, while the new wrappings are checked', in_kms_after('decrypt', 1), 0 ],
	[ 'move_kms_key, to a key file, in the second page', before_commit('move', 500), $PAGE ],
	[ 'move_kms_key, to Vault, checked, before a row is written', before_rows('dek'), 0 ],
	[ 'move_kms_key, to a key file, before the tenants are switched', before_rows('tenant'), 0 ],
	[ 'move_kms_key, to Vault, tenants switched, not told', after_commit(), 0 ],
);
my ($from, $to) = ($other, 'local:main');
foreach my $stop (@moves)
{
	my ($where, $place, $done) = @$stop;
	my $moved = "SELECT count(*) FROM chatcrypt.dek WHERE kms_key = '$to'";
	dies($where, "chatcrypt.move_kms_key('$from', '$to')", $place, $moved, $done);
	is(value("CALL chatcrypt.move_kms_key('$from', '$to')"), ($keys - $done) . '|0',
		"$where: a call once more does the rest");
	is(value($moved), $keys, "$where: every key is moved after the call once more");
	is(value(q{SELECT kms_key FROM chatcrypt.tenant WHERE tenant = 't'}), $to,
		"$where: the key of the tenant is moved too");
	($from, $to) = ($to, $from);
}
check_everything('move_kms_key, once more');

$node->stop;
done_testing();
