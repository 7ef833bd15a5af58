# Search on whole servers: a standby searches without writing, no word of a message is anywhere on
# disk, a shred leaves no token, reindex_search() continues after it was killed, and a restored
# database finds the same messages, also in other encodings.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('search', streaming => 1,
	conf => "restart_after_crash = on\nautovacuum = off\nfull_page_writes = on\n");
my $folder = PostgreSQL::Test::Utils::tempdir();

sub found
{
	my ($on, $chat, $query, $database) = @_;
	return ask($on, "SELECT string_agg(body, '|') FROM chatcrypt.search($chat, '$query')", $database);
}

# The SQL of docs/search.md runs as it stands, and the first block returns the rows that the page
# shows.
my $page = slurp_file('docs/search.md');
my @blocks = $page =~ /^```sql\n(.*?)^```$/msg;
cmp_ok(scalar @blocks, '>=', 2, 'docs/search.md has examples');
$blocks[0] =~ s/^CREATE EXTENSION chatcrypt;\n//m or fail('the first example of docs/search.md creates the extension');
my ($rows) = $page =~ /^\| sender \| body \|\n\| --- \| --- \|\n(.*?)\n\n/ms;
my $given = $node->safe_psql('postgres', $blocks[0]);
like($given, qr/^\Q$_\E$/m, "the first example of docs/search.md returns $_") foreach map { s/^\| (.*) \| (.*) \|$/$1|$2/r } split /\n/, $rows;
is((split /\n/, $node->safe_psql('postgres', $blocks[1]))[-1] =~ s/^[^|]*\|//r, 'Shall we meet at the old lighthouse?', 'the example of the next page returns the older message');
my ($request) = map { (split /\n/, $node->safe_psql('postgres', $_))[-1] } grep { /search_tokens/ } @blocks;
my $term = qr/\{"term" : \{"tokens" : "[0-9a-f]{16}"\}\}/;
like($request, qr/^\{"query" : \{"bool" : \{"filter" : \[\{"term" : \{"chat_id" : "[0-9a-f-]{36}"\}\}, $term, $term\]\}\}\}$/,
	'the example for an index of tokens builds a query with the chat and two tokens');
my ($load) = grep { /gin_pending_list_limit/ } @blocks;
$node->safe_psql('postgres', $load);
is(ask($node, q{SELECT reloptions::text FROM pg_class WHERE oid = 'chatcrypt.search_token_by_token'::regclass}),
	'{gin_pending_list_limit=256}', 'the example of a bulk load leaves the index with its old setting');

my ($of_tenant) = grep { /set_tenant_search/ } @blocks;
is((split /\n/, $node->safe_psql('postgres', $of_tenant))[-1], 'alice|The lighthouses are open.', 'a new chat is searched by the policy of its tenant');

# The WAL and the files hold tokens, and no word.
my $word = 'xylophonically';
$node->safe_psql('postgres', <<"SQL");
SELECT chatcrypt.create_chats(ARRAY[1, 2]::bigint[]);
SELECT chatcrypt.set_search(1, 'blind', prefixes => 3, trigrams => true);
CALL chatcrypt.reindex_search(1);
CHECKPOINT;
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES
	(chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), 'He played $word'), (chatcrypt.to_uuid(2), chatcrypt.to_uuid(2), 'She played $word too');
SELECT count(*) FROM chatcrypt.search(1, '$word');
CALL chatcrypt.reindex_search(1);
CHECKPOINT;
SQL
is(found($node, 1, 'xylo*'), "He played $word", 'a prefix finds the message');
ok(ask($node, 'SELECT cardinality(tokens) FROM chatcrypt.search_token WHERE message_id = chatcrypt.to_uuid(1)') > 20, 'the message has tokens of prefixes and trigrams');

sub files_with
{
	my ($bytes) = @_;
	my @files = split /\0/, `find '@{[ $node->data_dir ]}' -type f -print0`;
	return grep { -s $_ && index(slurp_file($_), $bytes) >= 0 } @files;
}
is(join(' ', files_with($word)), '', 'no file of the server has the word');
is(join(' ', files_with(substr($word, 0, 8))), '', 'no file of the server has the beginning of the word');
$node->command_ok([ 'pg_dump', '-f', "$folder/before.sql", 'postgres' ], 'pg_dump runs');
unlike(slurp_file("$folder/before.sql"), qr/xylo/, 'a dump does not have the word');

# A standby searches, and does not write.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
Chatcrypt::Test->share_keys($standby, $node);
$standby->start;
$node->wait_for_catchup($standby);
is(found($standby, 1, 'played -she'), "He played $word", 'a standby finds a message');
$node->safe_psql('postgres', q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'played later')});
$node->wait_for_catchup($standby);
is(found($standby, 1, '"played later"'), 'played later', 'a standby finds a message that was written after the base backup');
like(ask($standby, $_), qr/read-only transaction|during recovery/, "a standby refuses $_")
  foreach q{SELECT chatcrypt.set_search(2, 'blind')}, 'CALL chatcrypt.reindex_search(1)';
$node->safe_psql('postgres', q{SELECT chatcrypt.set_search(1, 'blind')});
$node->wait_for_catchup($standby);
like(found($standby, 1, 'played'), qr/is not complete/, 'a standby learns that the index is not complete any more');
$node->safe_psql('postgres', 'CALL chatcrypt.reindex_search(1, new_key => true)');
$node->wait_for_catchup($standby);
is(found($standby, 1, 'played'), "played later|He played $word", 'a standby searches with the new key');
$standby->stop;

# reindex_search() is killed, and the next call goes on: no message is missing or indexed twice.
my $messages = 20000;
$node->safe_psql('postgres', <<"SQL");
SELECT chatcrypt.create_chat(3);
INSERT INTO chatcrypt.messages (chat_id, body) SELECT chatcrypt.to_uuid(3), 'number' || i || ' of many' FROM generate_series(1, $messages) AS i;
SELECT chatcrypt.set_search(3, 'blind');
SQL
sub tokens { return ask($node, 'SELECT count(*) FROM chatcrypt.search_token WHERE chat_id = chatcrypt.to_uuid(3)'); }
my $err = '';
my $run = IPC::Run::start([ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'),
	'-c', 'CALL chatcrypt.reindex_search(3, batch => 100)' ], '<', \undef, '>', \my $out, '2>', \$err);
ok(wait_until(60, sub { tokens() >= 1000 }), 'reindex_search() has indexed some messages');
is(ask($node, q{SELECT task, done > 0 FROM chatcrypt.progress}), 'reindex search|t', 'the view progress shows reindex_search()');
my $backend = ask($node, q{SELECT pid FROM chatcrypt.progress WHERE task = 'reindex search'});
kill 'KILL', $backend;
$run->finish;
like($err, qr/server closed the connection|terminat/, 'reindex_search() was killed');
$node->poll_query_until('postgres', 'SELECT true');
my $done = tokens();
cmp_ok($done, '<', $messages, 'reindex_search() was killed before it had indexed all messages');
like(found($node, 3, 'number7'), qr/is not complete/, 'search() refuses the incomplete index');
is(ask($node, q{CALL chatcrypt.reindex_search(3, 1000, false, '30 s', NULL, NULL, NULL)}), ($messages - $done) . '|0|0', 'the next call indexes the other messages');
is(tokens(), $messages, 'every message has its tokens');
is(found($node, 3, "number$_"), "number$_ of many", "message $_ is found") foreach 1, 1000, $messages;

# A restored database finds the same messages without being indexed again.
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", 'postgres' ], 'pg_dump -Fc runs');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), "$folder/dump" ], 'pg_restore runs');
is(found($node, 3, 'number4711', 'restored'), 'number4711 of many', 'a restored database finds a message');
is(found($node, 42, 'lighthouse -closed', 'restored'), 'Shall we meet at the old lighthouse?', 'a restored database searches by the configuration of the chat');
is(ask($node, q{SELECT chatcrypt.set_search(3, 'blind', bits => 32)}, 'restored'), 'f', 'a policy can be changed in a restored database');
is(ask($node, 'SELECT max(generation) = count(DISTINCT generation) + min(generation) - 1 OR max(generation) > 3 FROM chatcrypt.search_policy', 'restored'),
	't', 'generations go on in a restored database');
is(ask($node, 'SELECT count(*) FROM (SELECT generation FROM chatcrypt.search_policy GROUP BY 1 HAVING count(*) > 1) AS twice', 'restored'),
	'0', 'no generation is used twice in a restored database');

# A shred leaves no token, and no key with which tokens could be made.
$node->safe_psql('postgres', q{SELECT chatcrypt.shred_chat(3, 'irreversible')});
is(tokens(), 0, 'a chat that was shredded has no token');
like(found($node, 3, 'number7'), qr/search of chat .* is off/, 'a chat that was shredded cannot be searched');
is(ask($node, q{SELECT count(*) FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(3) AND (state <> 'destroyed' OR encrypted_dek IS NOT NULL)}), 0,
	'every key of a chat that was shredded is destroyed');

# In another encoding the same words have the same tokens.  The locale decides what is a letter, and
# C knows none beyond ASCII, so that reindex_search() makes the other words again.
my %encoding_of = (latin1 => 'LATIN1', ascii => 'SQL_ASCII');
my $latin = "gr\xc3\xbc\xc3\x9fe";
$node->safe_psql('postgres', "CREATE DATABASE utf8 TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'");
$node->safe_psql('utf8', <<"SQL");
CREATE EXTENSION chatcrypt;
SELECT chatcrypt.create_chat(1);
SELECT chatcrypt.set_search(1, 'blind', prefixes => 2, trigrams => true);
CALL chatcrypt.reindex_search(1);
INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), 'viele $latin'), (chatcrypt.to_uuid(2), chatcrypt.to_uuid(1), 'keine Briefe');
SQL
my $tokens = 'SELECT tokens FROM chatcrypt.search_token WHERE message_id = chatcrypt.to_uuid(2)';
my $there = ask($node, $tokens, 'utf8');
is(found($node, 1, "*\xc3\xbc\xc3\x9f*", 'utf8'), "viele $latin", 'utf8: parts of words consist of characters, not of bytes');
$node->command_ok([ 'pg_dump', '--data-only', '-f', "$folder/data.sql", 'utf8' ], 'pg_dump --data-only runs');
foreach my $database (sort keys %encoding_of)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0 ENCODING '$encoding_of{$database}' LOCALE 'C'");
	$node->safe_psql($database, 'CREATE EXTENSION chatcrypt');
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', "$folder/data.sql" ], "the data is restored into $database");
	is(found($node, 1, 'brie* viele or keine', $database), 'keine Briefe', "$database: a message is found by tokens that were made in UTF-8");
	$node->safe_psql($database, 'CALL chatcrypt.reindex_search(1)');
	is(ask($node, $tokens, $database), $there, "$database: reindex_search() makes the same tokens");
	is(ask($node, "SET client_encoding = 'UTF8'; SELECT body FROM chatcrypt.search(1, '$_')", $database), "viele $latin", "$database: $_ is found")
	  foreach $latin, 'gr*', 'viele -keine', "\"viele $latin\"";
}

$node->stop;
done_testing();
