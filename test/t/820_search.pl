# Search on whole servers: a standby searches without writing, no word of a message is anywhere on
# disk, a shred leaves no token, a killed reindex_search() goes on, and what is restored finds the
# same, in other encodings too.
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

# docs/search.md, as it stands: each block of SQL, and what the first one says that it gives.
my $page = slurp_file('docs/search.md');
my @blocks = $page =~ /^```sql\n(.*?)^```$/msg;
cmp_ok(scalar @blocks, '>=', 2, 'the page has its examples');
$blocks[0] =~ s/^CREATE EXTENSION chatcrypt;\n//m or fail('the example begins with the extension');
my ($rows) = $page =~ /^\| sender \| body \|\n\| --- \| --- \|\n(.*?)\n\n/ms;
my $given = $node->safe_psql('postgres', $blocks[0]);
like($given, qr/^\Q$_\E$/m, "the example gives $_") foreach map { s/^\| (.*) \| (.*) \|$/$1|$2/r } split /\n/, $rows;
is((split /\n/, $node->safe_psql('postgres', $blocks[1]))[-1] =~ s/^[^|]*\|//r, 'Shall we meet at the old lighthouse?', 'and the next page');
my ($request) = map { (split /\n/, $node->safe_psql('postgres', $_))[-1] } grep { /search_tokens/ } @blocks;
my $term = qr/\{"term" : \{"tokens" : "[0-9a-f]{16}"\}\}/;
like($request, qr/^\{"query" : \{"bool" : \{"filter" : \[\{"term" : \{"chat_id" : "[0-9a-f-]{36}"\}\}, $term, $term\]\}\}\}$/,
	'and what an index of tokens is asked');
my ($load) = grep { /gin_pending_list_limit/ } @blocks;
$node->safe_psql('postgres', $load);
is(ask($node, q{SELECT reloptions::text FROM pg_class WHERE oid = 'chatcrypt.search_token_by_token'::regclass}),
	'{gin_pending_list_limit=256}', 'a load leaves the index as it was');

my ($of_tenant) = grep { /set_tenant_search/ } @blocks;
is((split /\n/, $node->safe_psql('postgres', $of_tenant))[-1], 'alice|The lighthouses are open.', 'a new chat is searched as its tenant says');

# What the WAL and the files hold: tokens, and no word.
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
is(found($node, 1, 'xylo*'), "He played $word", 'it is found');
ok(ask($node, 'SELECT cardinality(tokens) FROM chatcrypt.search_token WHERE message_id = chatcrypt.to_uuid(1)') > 20, 'and has its tokens');

sub files_with
{
	my ($bytes) = @_;
	my @files = split /\0/, `find '@{[ $node->data_dir ]}' -type f -print0`;
	return grep { -s $_ && index(slurp_file($_), $bytes) >= 0 } @files;
}
is(join(' ', files_with($word)), '', 'no file of the server holds the word');
is(join(' ', files_with(substr($word, 0, 8))), '', 'nor its beginning');
$node->command_ok([ 'pg_dump', '-f', "$folder/before.sql", 'postgres' ], 'a dump');
unlike(slurp_file("$folder/before.sql"), qr/xylo/, 'nor does a dump');

# A standby searches, and does not write.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
Chatcrypt::Test->share_keys($standby, $node);
$standby->start;
$node->wait_for_catchup($standby);
is(found($standby, 1, 'played -she'), "He played $word", 'a standby searches');
$node->safe_psql('postgres', q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'played later')});
$node->wait_for_catchup($standby);
is(found($standby, 1, '"played later"'), 'played later', 'also what came since');
like(ask($standby, $_), qr/read-only transaction|during recovery/, "and does not write: $_")
  foreach q{SELECT chatcrypt.set_search(2, 'blind')}, 'CALL chatcrypt.reindex_search(1)';
$node->safe_psql('postgres', q{SELECT chatcrypt.set_search(1, 'blind')});
$node->wait_for_catchup($standby);
like(found($standby, 1, 'played'), qr/is not complete/, 'it learns that the index is being made anew');
$node->safe_psql('postgres', 'CALL chatcrypt.reindex_search(1, new_key => true)');
$node->wait_for_catchup($standby);
is(found($standby, 1, 'played'), "played later|He played $word", 'and of the new key');
$standby->stop;

# Killed in the middle, it goes on: nothing is missing, and nothing is done twice.
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
ok(wait_until(60, sub { tokens() >= 1000 }), 'some are done');
is(ask($node, q{SELECT task, done > 0 FROM chatcrypt.progress}), 'reindex search|t', 'progress tells of it');
my $backend = ask($node, q{SELECT pid FROM chatcrypt.progress WHERE task = 'reindex search'});
kill 'KILL', $backend;
$run->finish;
like($err, qr/server closed the connection|terminat/, 'it was killed');
$node->poll_query_until('postgres', 'SELECT true');
my $done = tokens();
cmp_ok($done, '<', $messages, 'before its end');
like(found($node, 3, 'number7'), qr/is not complete/, 'nobody searches what is there of it');
is(ask($node, q{CALL chatcrypt.reindex_search(3, 1000, false, '30 s', NULL, NULL, NULL)}), ($messages - $done) . '|0|0', 'the next call does what was left');
is(tokens(), $messages, 'every message has its tokens');
is(found($node, 3, "number$_"), "number$_ of many", "message $_ is found") foreach 1, 1000, $messages;

# What is restored finds the same, without being indexed again.
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", 'postgres' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), "$folder/dump" ], 'pg_restore');
is(found($node, 3, 'number4711', 'restored'), 'number4711 of many', 'restored: it is found');
is(found($node, 42, 'lighthouse -closed', 'restored'), 'Shall we meet at the old lighthouse?', 'restored: by its language');
is(ask($node, q{SELECT chatcrypt.set_search(3, 'blind', bits => 32)}, 'restored'), 'f', 'restored: policies can be changed');
is(ask($node, 'SELECT max(generation) = count(DISTINCT generation) + min(generation) - 1 OR max(generation) > 3 FROM chatcrypt.search_policy', 'restored'),
	't', 'restored: generations go on');
is(ask($node, 'SELECT count(*) FROM (SELECT generation FROM chatcrypt.search_policy GROUP BY 1 HAVING count(*) > 1) AS twice', 'restored'),
	'0', 'restored: and none is used twice');

# A shred leaves no token, and no key to make one with.
$node->safe_psql('postgres', q{SELECT chatcrypt.shred_chat(3, 'irreversible')});
is(tokens(), 0, 'no token of a chat that was shredded');
like(found($node, 3, 'number7'), qr/search of chat .* is off/, 'and nothing is searched');
is(ask($node, q{SELECT count(*) FROM chatcrypt.dek WHERE chat_id = chatcrypt.to_uuid(3) AND (state <> 'destroyed' OR encrypted_dek IS NOT NULL)}), 0,
	'every key is destroyed');

# Other encodings: the same tokens for what is a word there too.  What is a letter is the locale's
# to say: C knows none beyond ASCII, and so words are made anew by reindex_search().
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
is(found($node, 1, "*\xc3\xbc\xc3\x9f*", 'utf8'), "viele $latin", 'utf8: parts of words have characters, not bytes');
$node->command_ok([ 'pg_dump', '--data-only', '-f', "$folder/data.sql", 'utf8' ], 'pg_dump --data-only');
foreach my $database (sort keys %encoding_of)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0 ENCODING '$encoding_of{$database}' LOCALE 'C'");
	$node->safe_psql($database, 'CREATE EXTENSION chatcrypt');
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', "$folder/data.sql" ], "restored into $database");
	is(found($node, 1, 'brie* viele or keine', $database), 'keine Briefe', "$database: found by the tokens of UTF-8");
	$node->safe_psql($database, 'CALL chatcrypt.reindex_search(1)');
	is(ask($node, $tokens, $database), $there, "$database: its own tokens are the same");
	is(ask($node, "SET client_encoding = 'UTF8'; SELECT body FROM chatcrypt.search(1, '$_')", $database), "viele $latin", "$database: $_ is found")
	  foreach $latin, 'gr*', 'viele -keine', "\"viele $latin\"";
}

$node->stop;
done_testing();
