# INSTEAD OF triggers lose updates (four sessions that counted to 100 each reached 114).  An UPDATE
# of the view waits for the other session instead, and continues from the row that it wrote, as an
# UPDATE of a table does: no update is lost, and under READ COMMITTED none fails.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('increments', conf => "log_statement = none\nlog_min_messages = panic\n");
my $folder = PostgreSQL::Test::Utils::tempdir();
my $body = 'SELECT body FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(1)';

$node->safe_psql('postgres', q{SELECT chatcrypt.create_chat(1);
	INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), '0')});

sub run_together
{
	my ($isolation, $sql, @options) = @_;
	local $ENV{PGOPTIONS} = "-c default_transaction_isolation=$isolation";
	unlink "$folder/script.sql";
	append_to_file("$folder/script.sql", $sql);
	my ($out, $err) = run_command([ 'pgbench', '-n', '-M', 'prepared', '-c', '4', '-t', '100', '-f', "$folder/script.sql",
		@options, $node->connstr('postgres') ]);
	return "$out\n$err";
}

# pgbench exits at the first error that it does not count; with --failures-detailed it counts these.
sub results_of
{
	my ($said) = @_;
	my ($done) = $said =~ m{actually processed: (\d+)/400};
	my ($failed) = $said =~ m{number of serialization failures: (\d+)};
	return ($done, $failed);
}

# A pause between reading and writing, so that sessions do meet, however busy the machine is.
my $add = "UPDATE chatcrypt.messages SET body = (body::integer + 1 + length(pg_sleep(0.001)::text))::text WHERE message_id = chatcrypt.to_uuid(1);\n";
# No two of these are alike, and a pause holds each transaction open.
my $expire = "\\set hours random(1, 100000)\nBEGIN;\n"
  . "UPDATE chatcrypt.messages SET expires_at = now() + :hours * interval '1 hour' WHERE message_id = chatcrypt.to_uuid(1);\n"
  . "SELECT pg_sleep(0.001);\nEND;\n";
my $lock_first = "BEGIN;\nSELECT body AS found FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(1) FOR UPDATE \\gset\n"
  . "UPDATE chatcrypt.messages SET body = (:found + 1)::text WHERE message_id = chatcrypt.to_uuid(1);\nEND;\n";

sub reset_counter
{
	return $node->safe_psql('postgres', q{UPDATE chatcrypt.messages SET body = '0', expires_at = NULL WHERE message_id = chatcrypt.to_uuid(1)});
}

foreach my $isolation ('repeatable\ read', 'serializable')
{
	reset_counter();
	my $said = run_together($isolation, $add, '--max-tries', '100000');
	like($said, qr{number of transactions actually processed: 400/400}, "$isolation: every session counted to 100") or diag($said);
	is(ask($node, $body), '400', "$isolation: no increment was lost");
	unlike($said, qr/number of transactions retried: 0 /,
		"$isolation: sessions did conflict with each other");
}

# Without retries, the increments that are missing are exactly those that failed.
reset_counter();
my ($done, $failed) = results_of(run_together('repeatable\ read', $add, '--failures-detailed'));
is(ask($node, $body), $done, 'repeatable read: every increment that was reported done is there');
is($done + $failed, 400,
	'repeatable read: every other increment was reported as a serialization failure');
cmp_ok($failed, '>', 0, 'repeatable read: some increments failed');

# The same sessions, which conflicted above.
reset_counter();
my $said = run_together('read\ committed', $add, '--failures-detailed');
is_deeply([ results_of($said) ], [ 400, 0 ], 'read committed: none of 400 increments by four sessions fails') or diag($said);
is(ask($node, $body), '400', 'read committed: no increment is lost');

# An UPDATE of another column, which needs nothing of the row.
(undef, $failed) = results_of(run_together('repeatable\ read', $expire, '--failures-detailed'));
cmp_ok($failed, '>', 0, 'repeatable read: four sessions that set expires_at of one message conflict with each other');
$said = run_together('read\ committed', $expire, '--failures-detailed');
is_deeply([ results_of($said) ], [ 400, 0 ],
	'read committed: none of 400 updates of expires_at fails') or diag($said);

# A transaction that reads first and writes afterwards locks the message when it reads.
reset_counter();
$said = run_together('read\ committed', $lock_first, '--failures-detailed');
is_deeply([ results_of($said) ], [ 400, 0 ], 'read committed: none of 400 transactions that SELECT … FOR UPDATE first fails') or diag($said);
is(ask($node, $body), '400',
	'read committed: no increment of transactions that SELECT … FOR UPDATE first is lost');

# MERGE, which takes views from 17 on, locks no row before it reads it: it fails with 40001 where
# another session was faster.
if ($node->pg_version >= 17)
{
	my $merge = "MERGE INTO chatcrypt.messages AS m USING (SELECT chatcrypt.to_uuid(1) AS id) AS s ON m.message_id = s.id\n"
	  . "WHEN MATCHED THEN UPDATE SET body = (m.body::integer + 1 + length(pg_sleep(0.001)::text))::text;\n";
	reset_counter();
	($done, $failed) = results_of(run_together('read\ committed', $merge, '--failures-detailed'));
	is(ask($node, $body), $done, 'MERGE: every increment that was reported done is there');
	is($done + $failed, 400,
		'MERGE: every other increment was reported as a serialization failure');
	cmp_ok($failed, '>', 0, 'MERGE: some increments failed');
}

$node->stop;
done_testing();
