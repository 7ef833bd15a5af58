# What other sessions do to a table while protect_rows() waits for an older transaction, or for
# rows that another transaction has locked.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('protect_wait');
my $older = session($node);
my $rows = session($node);

sub value
{
	return $node->safe_psql('postgres', $_[0]);
}

sub make_table
{
	value(<<'SQL');
DROP TABLE IF EXISTS post;
CREATE TABLE post (id bigint PRIMARY KEY, chat bigint NOT NULL, a text, b text);
INSERT INTO post SELECT i, 1, 'a' || i, 'b' || i FROM generate_series(1, 3) AS i;
SELECT chatcrypt.protect('post', 'a', 'chat', 'id');
SQL
}

# How many values of both columns are stored sealed.
sub sealed
{
	return value(q{SET chatcrypt.show = sealed; SELECT count(*) FILTER (WHERE a LIKE 'cc1:%'), count(*) FILTER (WHERE b LIKE 'cc1:%') FROM post});
}

# Runs a statement while protect_rows() waits, and then lets it end.
sub while_it_waits
{
	my ($statement) = @_;

	make_table();
	answer($older, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
	answer($older, 'SELECT 1');
	start($rows, q{CALL chatcrypt.protect_rows('post', max_wait => '5 minutes')});
	ok(wait_until(60, sub { value(q{SELECT task FROM chatcrypt.progress}) eq 'wait for older transactions' }), 'protect_rows() waits');
	value($statement);
	answer($older, 'COMMIT');
	is(outcome($rows), '6', 'it goes through the rows again');
	is(value('SELECT string_agg(id || a || b, $$,$$ ORDER BY id) FROM post'), '1a1b1,2a2b2,3a3b3', 'all values are read correctly');
	return;
}

while_it_waits(q{SELECT chatcrypt.unprotect('post', 'a')});
is(sealed(), '0|0', 'unprotect() meanwhile: all values are opened');
is(value('SELECT count(*) FROM chatcrypt.protected'), 0, 'before the table is an ordinary one');

while_it_waits(q{SELECT chatcrypt.protect('post', 'b', 'chat', 'id')});
is(sealed(), '3|3', 'protect() of another column meanwhile: its values are sealed');
is(value('SELECT string_agg(state, $$ $$) FROM chatcrypt.protected'), 'sealed sealed', 'before it is marked as sealed');
is(value(q{SELECT count(*) FROM chatcrypt.verify_protected('post')}), 0, 'all values open');

# A row that stays locked is left to the next call.
make_table();
answer($older, 'BEGIN');
answer($older, 'SELECT id FROM post WHERE id = 2 FOR UPDATE');
my ($status, $changed, $notice) = $node->psql('postgres', q{CALL chatcrypt.protect_rows('post', max_wait => '300 ms')});
is($changed, 2, 'rows that are not locked are sealed');
like($notice, qr/1 row.* locked/, 'after max_wait, the call ends and says that a row is locked');
is(value(q{SELECT string_agg(message_id::text, ' ') FROM chatcrypt.verify_protected('post')}), value('SELECT chatcrypt.to_uuid(2)'), 'the locked row is as it was');
is(answer($older, 'SELECT a FROM post WHERE id = 2'), 'a2', 'its session reads it');
answer($older, 'COMMIT');
is(value(q{CALL chatcrypt.protect_rows('post')}), 1, 'the next call seals it');
is(value('SELECT state FROM chatcrypt.protected'), 'sealed', 'and finishes');

$_->quit foreach $older, $rows;
done_testing();
