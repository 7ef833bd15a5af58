# A protected table on disk: neither heap, TOAST, statistics nor WAL hold plaintext, protect_rows() can
# be stopped and killed, and a server without the library does not open the table.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('protect_disk', conf => "autovacuum = off\nmax_parallel_workers_per_gather = 2\n");

sub value
{
	return $node->safe_psql('postgres', $_[0]);
}

# The files below some folders of the data directory that hold a word.
sub files_with
{
	my ($word, @folders) = @_;
	my $data = $node->data_dir;
	my ($out, $err);

	IPC::Run::run([ 'grep', '-rlF', $word, map { "$data/$_" } @folders ], '>', \$out, '2>', \$err);
	return join ' ', map { s/^\Q$data\E\///r } split /\n/, $out;
}

# Some of the bodies are stored out of line, and none is compressed.
value(<<'SQL');
CREATE TABLE message (id bigint PRIMARY KEY, chat_id bigint NOT NULL, body text, seen int DEFAULT 0);
ALTER TABLE message ALTER body SET STORAGE EXTERNAL;
INSERT INTO message SELECT g, g % 10, 'EARLYWORD ' || g || CASE WHEN g % 50 = 0 THEN repeat(' EARLYWORD', 500) ELSE '' END
	FROM generate_series(1, 3000) AS g;
ALTER TABLE message ADD COLUMN draft text DEFAULT 'EARLYDRAFT';
ANALYZE;
CHECKPOINT;
SQL
isnt(files_with('EARLYWORD', 'base'), '', 'before, plaintext is found on disk');
my $expected = value('SELECT md5(string_agg(id || body, $$,$$ ORDER BY id)) FROM message');

value(q{SELECT chatcrypt.protect('message', 'body', 'chat_id', 'id'), chatcrypt.protect('message', 'draft', 'chat_id', 'id')});
is(value(q{SELECT count(*) FROM pg_stats WHERE tablename = 'message' AND attname IN ('body', 'draft')}), 0, 'protect() removes the statistics of the columns');
value('ANALYZE message');
is(value(q{SELECT count(*) FROM pg_statistic WHERE starelid = 'message'::regclass AND concat(stavalues1::text, stavalues2::text) ~ 'EARLY'}), 0,
	'ANALYZE stores no plaintext while the columns are mixed');

# protect_rows() is stopped twice, and then the whole server is killed.
foreach my $end ('pg_terminate_backend(pid)', 'pg_cancel_backend(pid)', undef)
{
	my $session = session($node);
	start($session, q{CALL chatcrypt.protect_rows('message', batch => 50, rows_per_second => 1000)});
	ok(wait_until(30, sub { value(q{SELECT count(*) FROM chatcrypt.progress WHERE task = 'protect' AND done > 0}) > 0 }), 'some rows are sealed');
	if (defined $end)
	{
		value(qq{SELECT $end FROM pg_stat_activity WHERE query LIKE 'CALL chatcrypt.protect_rows%'});
	}
	else
	{
		$node->stop('immediate');
		$node->start;
	}
	ok(wait_until(30, sub { value(q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL chatcrypt.protect_rows%' AND state = 'active'}) == 0 }), 'protect_rows() has ended');
	is(value('SELECT md5(string_agg(id || body, $$,$$ ORDER BY id)) FROM message'), $expected, 'all values are read correctly');
	is(value(q{SELECT state FROM chatcrypt.protected WHERE column_name = 'body'}), 'mixed', 'the column is still mixed');
}
value(q{CALL chatcrypt.protect_rows('message')});
is(value('SELECT string_agg(state, $$ $$) FROM chatcrypt.protected'), 'sealed sealed', 'the next call finishes');
is(value('SELECT md5(string_agg(id || body, $$,$$ ORDER BY id)) FROM message'), $expected, 'all values are read correctly');
is(value(q{SELECT count(*) FROM message WHERE draft = 'EARLYDRAFT'}), 3000, 'so are values that were only the default of a column');
is(value(q{SELECT count(*) FROM chatcrypt.verify_protected('message')}), 0, 'all values are sealed');

# Every way to write a row stores its values sealed.
value(<<'SQL');
INSERT INTO message SELECT g, g % 10, 'LATEWORD ' || g || CASE WHEN g % 50 = 0 THEN repeat(' LATEWORD', 1000) ELSE '' END
	FROM generate_series(3001, 4000) AS g;
UPDATE message SET body = body || ' LATEWORD' WHERE id % 7 = 0;
INSERT INTO message (id, chat_id, body) SELECT id, 1, 'LATEWORD' FROM message WHERE id < 100 ON CONFLICT (id) DO UPDATE SET body = excluded.body || message.body;
COPY (SELECT id + 10000, chat_id, 'LATEWORD copied' FROM message) TO '/tmp/chatcrypt_protect_disk.copy';
SQL
unlink '/tmp/chatcrypt_protect_disk.copy';
value(<<'SQL');
CREATE INDEX ON message (chat_id, id);
ALTER TABLE message ADD COLUMN at float DEFAULT random();
CLUSTER message USING message_pkey;
VACUUM FULL;
ANALYZE;
CHECKPOINT;
SQL
is(files_with('LATEWORD', 'base', 'pg_wal'), '', 'no file holds a new value in plaintext');
is(files_with('EARLYWORD', 'base'), '', 'after VACUUM FULL, no file holds an old value in plaintext');
is(files_with('EARLYDRAFT', 'base'), '', 'no file holds the former default of the column');

# A BEFORE UPDATE trigger that returns the row does not cause out-of-line values to be written again.
value(<<'SQL');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.seen := NEW.seen + 1; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON message FOR EACH ROW EXECUTE FUNCTION touch();
SQL
my $toast = q{SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = 'message'::regclass};
my $before = value($toast);
value('UPDATE message SET seen = seen + 1') foreach 1 .. 3;
is(value($toast), $before, 'the TOAST table does not grow');

# Parallel workers and all kinds of plans read the same values.
is(value(qq{SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SELECT count(*) FROM message WHERE body ~ '$_'}),
	value(qq{SET max_parallel_workers_per_gather = 0; SELECT count(*) FROM message WHERE body ~ '$_'}), "parallel workers read $_") foreach 'EARLY', 'LATE';
foreach my $plan ('indexscan', 'bitmapscan', 'seqscan')
{
	my $off = join '; ', map { "SET enable_$_ = off" } grep { $_ ne $plan } 'indexscan', 'indexonlyscan', 'bitmapscan', 'seqscan';
	is(value("$off; SELECT body FROM message WHERE id = 3001"), 'LATEWORD 3001', "a $plan reads the value");
}

# A server without the library raises an ERROR for this table; everything else works.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
my $session = session($node);
like(answer($session, 'SELECT count(*) FROM message'), qr/^ERROR:  protected tables cannot be opened while the library of chatcrypt is not loaded/, 'without the library, the table is not opened');
is(answer($session, 'SELECT 1'), '1', 'the session can go on after that error');
my ($status, undef, $errors) = $node->psql('postgres', 'VACUUM pg_class');
is($status, 0, 'other tables can be vacuumed');

done_testing();
