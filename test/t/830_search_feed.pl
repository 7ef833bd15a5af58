# The feed of an external search engine, with the program of docs/search.md and a receiver that handles
# versions as search engines do.  Whatever dies or fails, the index ends with what the database has.
use strict;
use warnings;
use Chatcrypt::BulkReceiver;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(make_key keys_of wait_until);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $marker = 'Xq7MarkerOfAFedBody7qX';
my $node = Chatcrypt::Test->start('feed', streaming => 1, conf => "wal_level = logical\nautovacuum_naptime = 1\nmax_prepared_transactions = 5\n");
make_key(keys_of($node), 'acme');
my $receiver = Chatcrypt::BulkReceiver->start;
my $folder = PostgreSQL::Test::Utils::tempdir();

# The program, as docs/search.md has it.
my ($program) = slurp_file('docs/search.md') =~ /^```sh\n(#!\/bin\/sh\n.*?drain_search_feed.*?)^```$/ms;
ok(defined $program, 'docs/search.md has a program');
append_to_file("$folder/feed.sh", $program);

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE indexer LOGIN;
GRANT chatcrypt_feeder TO indexer;
SELECT chatcrypt.create_tenant('acme', 'local:acme');
SELECT chatcrypt.create_chats(ARRAY[1, 2, 3]::bigint[]);
SELECT chatcrypt.create_chat(4, tenant => 'acme');
SELECT chatcrypt.set_search(chat, 'plain') FROM generate_series(1, 4) AS chat;
SQL

sub program_env
{
	return (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres', PGUSER => 'indexer', SEARCH_URL => $receiver->url);
}

# Runs the program, and returns its exit status and its output.
sub feed
{
	my ($out, $err) = ('', '');
	local %ENV = program_env();
	IPC::Run::run([ 'sh', "$folder/feed.sh" ], '>', \$out, '2>', \$err);
	return ($? >> 8, $out . $err);
}

# A batch of a slow consumer.
sub drain_by_hand
{
	return $node->safe_psql('postgres', q{SELECT chatcrypt.drain_search_feed(100, '2 seconds')}) =~ s/\n*\z/\n/r;
}

my $left = 'SELECT count(*) FROM chatcrypt.search_feed';

# Runs the program until the outbox is empty, without the pauses after failures.
sub feed_to_the_end
{
	return wait_until(60, sub {
		$node->safe_psql('postgres', 'UPDATE chatcrypt.search_feed SET due_at = NULL WHERE due_at > now()');
		feed();
		return ask($node, $left) eq '0';
	});
}

sub in_index
{
	my ($chat) = @_;
	my $documents = $receiver->state->{documents};
	my $id = defined $chat ? ask($node, "SELECT chatcrypt.to_uuid($chat)") : undef;
	return [ sort map { utf8::encode($_); $_ } map { join '|', $_->{message_id}, $_->{chat_id}, $_->{sender} // '', $_->{text} // '' }
		  grep { !defined $id || $_->{chat_id} eq $id } values %$documents ];
}

sub in_database
{
	my $rows = ask($node, q{SELECT concat_ws('|', message_id, chat_id, coalesce(sender, ''), coalesce(body, '')) FROM chatcrypt.messages
		WHERE chat_id IN (SELECT chat_id FROM chatcrypt.search_policy WHERE feed)});
	return [ sort split /\n/, $rows ];
}

sub same
{
	my ($what) = @_;
	ok(feed_to_the_end(), "$what, the outbox becomes empty");
	is_deeply(in_index(), in_database(), "$what, the index has what the database has");
	is_deeply($receiver->state->{wrong}, [], "$what, every request was well formed");
	return;
}

# The receiver refuses requests that a search engine would refuse.
my $action = '{"index":{"_index":"i","_id":"a","version":1,"version_type":"external"}}';
foreach my $case (
	[ 'no newline', "$action\n{\"message_id\":\"a\"}", 'application/x-ndjson' ],
	[ 'another content type', "$action\n{\"message_id\":\"a\"}\n", 'application/json' ],
	[ 'an empty line', "$action\n{\"message_id\":\"a\"}\n\n", 'application/x-ndjson' ],
	[ 'no document', "$action\n", 'application/x-ndjson' ],
	[ 'no version', "{\"index\":{\"_index\":\"i\",\"_id\":\"a\"}}\n{}\n", 'application/x-ndjson' ],
	[ 'a broken string', "$action\n{\"message_id\":\"a\",\"text\":\"\x01\"}\n", 'application/x-ndjson' ])
{
	my ($what, $body, $type) = @$case;
	is(($receiver->post('_bulk', $body, $type))[0], 400, "the receiver refuses a request with $what");
}
is_deeply($receiver->state->{documents}, {}, 'the receiver keeps nothing of requests that it refuses');
$receiver->stop;
$receiver = Chatcrypt::BulkReceiver->start;

# Existing messages, and each kind of change.
is(join('|', feed()), '0|', 'the program ends at once if there is nothing to do');
$node->safe_psql('postgres', <<"SQL");
INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body)
	SELECT chatcrypt.to_uuid(i), chatcrypt.to_uuid(1 + i % 4), 'alice', '$marker ' || i FROM generate_series(1, 2500) AS i;
SQL
is(join('|', feed()), '0|', 'the program feeds 2,500 messages');
is($receiver->state->{counts}{requests}, 3, '2,500 messages take three requests');
same('after inserts');
$node->safe_psql('postgres', <<"SQL");
UPDATE chatcrypt.messages SET body = '$marker, changed \\\\ " \xc3\xa9 \xf0\x9f\x91\x8b' WHERE message_id = chatcrypt.to_uuid(1);
UPDATE chatcrypt.messages SET sender = NULL WHERE message_id = chatcrypt.to_uuid(2);
DELETE FROM chatcrypt.messages WHERE message_id BETWEEN chatcrypt.to_uuid(3) AND chatcrypt.to_uuid(20);
SQL
same('after changes');

# A consumer dies between drain and ack, and its request arrives late.
$node->safe_psql('postgres', "UPDATE chatcrypt.messages SET body = 'while one died' WHERE message_id = chatcrypt.to_uuid(1)");
my $lines = drain_by_hand();
like($lines, qr/while one died/, 'a consumer has the changed message');
is(join('|', feed()), '0|', 'other consumers have nothing to do while the message is leased');
unlike(join(' ', @{ in_index() }), qr/while one died/, 'the index does not get the message while it is leased');
ok(wait_until(20, sub { feed(); ask($node, $left) eq '0' }), 'other consumers get the message when the lease has ended');
like(join(' ', @{ in_index() }), qr/while one died/, 'the index gets the message when the lease has ended');
$node->safe_psql('postgres', 'DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(1)');
same('after a deletion');
is(($receiver->post('_bulk', $lines, 'application/x-ndjson'))[0], 200, 'the request of the dead consumer arrives late');
same('after a late request');

# The index cannot be reached.
{
	my $there = $receiver;
	$node->safe_psql('postgres', "UPDATE chatcrypt.messages SET body = 'nobody there' WHERE message_id = chatcrypt.to_uuid(30)");
	$receiver = bless { port => 1 }, 'Chatcrypt::BulkReceiver';
	my ($status, $said) = feed();
	isnt($status, 0, 'the program fails if the index cannot be reached');
	unlike($said, qr/nobody there/, 'a failing program prints nothing of messages');
	$receiver = $there;
	same('when the index can be reached again');
}

# Random changes by several writers, consumers that are killed, and an index that rejects messages or does
# not answer.
append_to_file("$folder/writes.sql", <<'SQL');
\set message random(1, 400)
\set chat random(1, 3)
\set what random(1, 10)
\if :what <= 4
SELECT chatcrypt.put_message(m.chat_id, m.message_id, 'put ' || :client_id || ' ' || random())
	FROM (SELECT chatcrypt.to_uuid(:message) AS message_id, coalesce((SELECT chat_id FROM chatcrypt.sealed_message WHERE message_id = chatcrypt.to_uuid(:message)), chatcrypt.to_uuid(:chat)) AS chat_id) AS m;
\elif :what <= 6
UPDATE chatcrypt.messages SET body = 'update ' || :client_id || ' ' || random() WHERE message_id = chatcrypt.to_uuid(:message);
\elif :what = 7
UPDATE chatcrypt.messages SET sender = 'sender ' || :client_id, created_at = now() - random() * interval '1 day' WHERE message_id = chatcrypt.to_uuid(:message);
\elif :what = 8
BEGIN;
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(:message);
ROLLBACK;
\elif :what = 9
UPDATE chatcrypt.messages SET chat_id = chatcrypt.to_uuid(:chat) WHERE message_id = chatcrypt.to_uuid(:message);
\else
DELETE FROM chatcrypt.messages WHERE message_id = chatcrypt.to_uuid(:message);
\endif
SQL
$receiver->faults(reject => 17, mute => 5);
my ($out, $err) = ('', '');
my $writers = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-j', '2', '-T', '10', '--max-tries=20', '-f', "$folder/writes.sql", $node->connstr('postgres') ],
	'>', \$out, '2>', \$err);
my $killed = 0;
my @late;
while ($writers->pumpable)
{
	local %ENV = program_env();
	my @consumers = map { IPC::Run::start([ 'sh', "$folder/feed.sh" ], '>', '/dev/null', '2>', '/dev/null') } 1, 2;
	ask($node, 'UPDATE chatcrypt.search_feed SET due_at = now() WHERE due_at > now() + random() * interval $$2 minutes$$');
	push @late, drain_by_hand();
	select undef, undef, undef, rand 0.8;
	ask($node, "SELECT chatcrypt.set_search(2, '$_')") foreach $killed % 20 == 7 ? ('off', 'plain') : ();
	ask($node, 'SELECT chatcrypt.resend_search_feed(3)') if $killed % 20 == 13;
	$receiver->post('_bulk', shift @late, 'application/x-ndjson') if @late > 3 && $late[0] ne "\n";
	$_->kill_kill(grace => 0) foreach @consumers;
	$killed += 2;
	$writers->pump_nb;
}
ok($writers->finish, 'the writers end without an error') or diag($err);
$receiver->faults(reject => 0, mute => 0);
my $counts = $receiver->state->{counts};
note(join ', ', "killed: $killed", map { "$_: $counts->{$_}" } sort keys %$counts);
cmp_ok($killed, '>', 10, 'some consumers were killed');
cmp_ok($counts->{conflicts}, '>', 0, 'some requests arrived late');
cmp_ok($counts->{rejected}, '>', 0, 'some messages were rejected');
cmp_ok($counts->{muted}, '>', 0, 'some requests were not answered');
same('after random changes');

# If a key cannot be unwrapped, other chats go on, and nothing is lost.
$node->restart;
rename keys_of($node) . '/acme.key', keys_of($node) . '/acme.away' or die;
$node->safe_psql('postgres', "SELECT chatcrypt.put_message(chatcrypt.to_uuid(chat), chatcrypt.to_uuid(5000 + chat), 'key') FROM generate_series(1, 3) AS chat");
$node->safe_psql('postgres', 'SELECT chatcrypt.resend_search_feed(4)');
my ($status, $said) = feed();
is($status, 0, 'a missing key does not end the program');
like($said, qr/WARNING:  \d+ messages could not be opened and will be tried again/, 'the program prints a warning about a missing key');
like(join(' ', @{ in_index(1) }), qr/\|key/, 'other chats are fed while a key is missing');
is(ask($node, q{SELECT failing > 0, leased, problem IS NOT NULL FROM chatcrypt.search_feed_status WHERE mode = 'plain'}), 't|0|t', 'the status shows that messages are failing, and why');
is(ask($node, q{SELECT severity FROM chatcrypt.doctor() WHERE finding = 'search_feed'}), '', 'doctor() does not report a feed that is only minutes behind');
rename keys_of($node) . '/acme.away', keys_of($node) . '/acme.key' or die;
same('when the key is back');

# What doctor() reports.
$node->safe_psql('postgres', "SELECT chatcrypt.resend_search_feed(1); UPDATE chatcrypt.search_feed SET noted_at = now() - interval '61 minutes'");
is(ask($node, q{SELECT severity FROM chatcrypt.doctor() WHERE finding = 'search_feed'}), 'warning', 'doctor() warns of a feed that is an hour behind');
like(ask($node, q{SELECT what FROM chatcrypt.doctor() WHERE finding = 'feeders'}), qr/indexer/, 'doctor() names the roles that drain');
same('after a warning of doctor()');

# No file of the server and no dump of the outbox has plaintext.
$node->safe_psql('postgres', 'UPDATE chatcrypt.messages SET sender = $$bob$$ WHERE chat_id = chatcrypt.to_uuid(1)');
$node->safe_psql('postgres', q{SELECT chatcrypt.drain_search_feed(10, '1 hour') IS NOT NULL});
$node->safe_psql('postgres', 'CHECKPOINT');
my $files = $node->data_dir;
is(`grep -rl $marker $files`, '', 'no file of the server has text of a message');
command_ok([ 'pg_dump', '-f', "$folder/dump.sql", $node->connstr('postgres') ], 'pg_dump runs');
unlike(slurp_file("$folder/dump.sql"), qr/$marker/, 'a dump has no text of a message');

# A restored outbox goes on where it was, with higher numbers.
my $last = ask($node, 'SELECT max(batch) FROM chatcrypt.search_feed');
my $outbox = q{SELECT md5(string_agg(f::text, '|' ORDER BY position)), (SELECT count(*) FROM chatcrypt.search_feed_chat) FROM chatcrypt.search_feed AS f};
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$folder/dump.sql", $node->connstr('restored') ], 'the dump is restored');
is(ask($node, $outbox, 'restored'), ask($node, $outbox), 'the restored outbox is the same');
my ($version) = ask($node, q{SELECT chatcrypt.drain_search_feed(1, '1 hour')}, 'restored') =~ /"version":(\d+)/;
cmp_ok($version, '>', $last, 'the next batch of the restored outbox has a higher number');
$node->safe_psql('postgres', 'DROP DATABASE restored');
same('after a restore into another database');

# A chat begins to be fed while a writer does not know of it, whose transaction is then prepared.
$node->safe_psql('postgres', 'SELECT chatcrypt.create_chat(8)');
my $writer = session($node);
answer($writer, 'BEGIN');
answer($writer, q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(8), 'did not know')});
$node->safe_psql('postgres', q{SELECT chatcrypt.set_search(8, 'plain')});
feed();
is_deeply(in_index(8), [], 'a message that is not committed is not in the index');
is(ask($node, 'SELECT sum(chats) FROM chatcrypt.search_feed_status'), '1', 'the chat waits for a transaction that did not know of the feed');
answer($writer, q{PREPARE TRANSACTION 'unknowing'});
feed();
is(ask($node, 'SELECT sum(chats) FROM chatcrypt.search_feed_status'), '1', 'the chat waits for that transaction when it is prepared, too');
answer($writer, q{COMMIT PREPARED 'unknowing'});
same('after the transaction has committed');
like(join(' ', @{ in_index(8) }), qr/did not know/, 'the index has the message of the transaction that did not know of the feed');

# Chats whose feed is turned off, or that are shredded or deleted, are deleted from the index.
is(scalar @{ in_index($_) } > 0, 1, "the index has messages of chat $_") foreach 1 .. 4;
$node->safe_psql('postgres', q{SELECT chatcrypt.set_search(1, 'off'); SELECT chatcrypt.shred_chat(2, 'irreversible'); SELECT chatcrypt.shred_tenant('acme', 'irreversible')});
$node->safe_psql('postgres', q{CALL chatcrypt.delete_chat(3, 'irreversible')});
ok(feed_to_the_end(), 'the outbox becomes empty after chats were turned off, shredded and deleted');
is_deeply(in_index($_), [], "the index has nothing of chat $_ any more") foreach 1 .. 4;
is_deeply($receiver->state->{wrong}, [], 'every request for deleted chats was well formed');
is(ask($node, 'SELECT string_agg(chat_id::text, $$ $$) FROM chatcrypt.search_feed_chat'), ask($node, q{SELECT string_agg(chat_id::text, ' ') FROM chatcrypt.search_policy WHERE feed}),
	'chats that are no longer fed are forgotten');

# A standby refuses to drain.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
Chatcrypt::Test->share_keys($standby, $node);
$standby->start;
my $read_only = qr/ERROR:  cannot execute chatcrypt\.\w+\(\) (in a read-only transaction|during recovery)/;
like(ask($standby, "SELECT chatcrypt.$_"), $read_only, "a standby refuses $_") foreach 'drain_search_feed()', 'ack_search_feed(1)', 'nack_search_feed(1)', 'resend_search_feed()';
is(ask($standby, 'SELECT count(*) FROM chatcrypt.search_feed_status'), '3', 'a standby shows the status of the feed');
$standby->stop;

# A client over an unencrypted connection gets no plaintext if chatcrypt.require_tls is on.
$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\nchatcrypt.require_tls = on\n");
$node->append_conf('pg_hba.conf', "host all all 127.0.0.1/32 trust\n");
$node->restart;
my $port = $node->port;
($status, $out, $err) = (0, '', '');
IPC::Run::run([ 'psql', '-XAtq', '-d', "host=127.0.0.1 port=$port dbname=postgres user=indexer sslmode=disable", '-c', 'SELECT chatcrypt.drain_search_feed()' ], '>', \$out, '2>', \$err);
like($err, qr/messages are not encrypted or decrypted over an unencrypted connection/, 'chatcrypt.require_tls applies to drain_search_feed()');

$node->stop;
$receiver->stop;
done_testing();
