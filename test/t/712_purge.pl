# What a purge must not miss: envelopes that are handed on from one transaction to the next while
# it waits, under whatever snapshot.  And whom it holds up: nobody.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(wait_until);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('purge', conf => "autovacuum = off\n");
$node->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chats(ARRAY(SELECT generate_series(1::bigint, 40)));
UPDATE chatcrypt.chat SET external_envelopes = false;
CREATE TABLE kept (id bigint, chat bigint, envelope bytea);
CREATE INDEX ON kept (chat);
SELECT chatcrypt.register_envelopes('kept', 'envelope', 'chat', 'id');
SQL

sub value
{
	return $node->safe_psql('postgres', $_[0]);
}

my $held = q{SELECT backend_xmin FROM pg_stat_activity WHERE query LIKE 'CALL chatcrypt.purge%' AND state = 'active'};

sub is_held
{
	return wait_until(60, sub { value($held) ne '' });
}

sub is_waiting
{
	return wait_until(60, sub { value('SELECT task FROM chatcrypt.progress') =~ /wait for older transactions/ });
}

# A session in a transaction.
sub begun
{
	my ($how) = @_;
	my $session = session($node);
	answer($session, 'BEGIN' . ($how // ''));
	answer($session, 'SELECT 1');
	return $session;
}

sub take
{
	my ($session, $id) = @_;
	return answer($session, "SELECT set_config('my.envelope', encode(envelope, 'hex'), false) <> '' FROM kept WHERE id = $id");
}

sub store
{
	my ($session, $chat, $id) = @_;
	return answer($session, "INSERT INTO kept VALUES ($id, $chat, decode(current_setting('my.envelope'), 'hex')); COMMIT");
}

sub state_of
{
	my ($chat, $version) = @_;
	return value("SELECT state FROM chatcrypt.dek WHERE chat_id = chatcrypt.id($chat) AND dek_version = $version");
}

# Keeps a purge whose first fence is gone from its end, until it holds its snapshot for seconds at
# a time: each that it lets go of is followed by one of twice the time.  Gives who holds it up then.
sub lengthen_holds
{
	my ($blocker) = @_;

	foreach (1 .. 12)
	{
		wait_until(2, sub { value($held) ne '' });
		my $since = time;
		wait_until(60, sub { value($held) eq '' }) or die 'the snapshot is not let go of';
		return $blocker if time - $since >= 4;
		my $next = begun();
		answer($blocker, 'COMMIT');
		$blocker->quit;
		$blocker = $next;
	}
	die 'the snapshot is never held for long';
}

# A row that is stored, read, deleted and vacuumed away, all of it after the snapshot.
my $writer = begun();
answer($writer, q{INSERT INTO kept VALUES (1, 1, chatcrypt.encrypt(1, 1, 'handed on'))});
value('SELECT chatcrypt.rotate_chat(1)');
my $purge = session($node);
start($purge, q{CALL chatcrypt.purge_unused_deks(patience => '5 min')});
ok(is_waiting(), 'a purge waits');
is(value($held), '', 'and holds nothing back');
my $blocker = begun();
answer($writer, 'COMMIT');
$blocker = lengthen_holds($blocker);

my $first = begun();
is(take($first, 1), 't', 'a transaction that it has not waited for reads what the others left');
value('DELETE FROM kept');
value('VACUUM kept');
my $last = begun();
answer($blocker, 'COMMIT');
ok(is_held(), 'the purge holds a snapshot');
my $snapshot = value($held);
is(store($first, 1, 1), '', 'the row is stored again');
my @readers = (begun(), begun(' ISOLATION LEVEL REPEATABLE READ'));
is(take($_, 1), 't', 'and read') foreach @readers;
value('DELETE FROM kept');
value('VACUUM kept');
is(value('SELECT count(*) FROM kept'), 0, 'and gone');
is(value($held), $snapshot, 'under one snapshot of the purge');
answer($last, 'COMMIT');
is(outcome($purge), '0|0|0', 'the purge has seen it');
is(store($readers[$_], 1, 1), '', 'it is stored a third time') foreach 0 .. $#readers;
is(value('SELECT count(*) FROM kept WHERE chatcrypt.decrypt(chat, id, envelope) = $$handed on$$'), 2, 'and opens');
is(state_of(1, 1), 'decrypt_only', 'its key is there');
value('DELETE FROM kept');
is(answer($purge, 'CALL chatcrypt.purge_unused_deks()'), '1|0|0', 'and goes when nobody has it');
$_->quit foreach $writer, $blocker, $first, $last, @readers;

$purge->quit;
$node->stop;
done_testing();
