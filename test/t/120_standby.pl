# A hot standby: it reads with a KMS worker and caches of its own, forgets the keys that the primary
# destroys, seals without writing, and becomes a primary without losing anything.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of wait_until);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = Chatcrypt::Test->start('primary', streaming => 1, conf => "autovacuum = off\nchatcrypt.on_decrypt_error = raise\n");
my $away = qr/could not unwrap the data key of chat .* version \d/;

sub read_message
{
	my ($number) = @_;
	return "SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid($number)";
}

$primary->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chats(array_agg(g)) FROM generate_series(1::bigint, 20) AS g;
INSERT INTO chatcrypt.messages (message_id, chat_id, body)
	SELECT chatcrypt.to_uuid(g), chatcrypt.to_uuid(g), 'body ' || g FROM generate_series(1, 20) AS g;
SQL
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
Chatcrypt::Test->share_keys($standby, $primary);
$standby->start;

sub replay
{
	$primary->wait_for_catchup($standby);
	return;
}

sub worker_of
{
	my ($node) = @_;
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	return scalar grep { /chatcrypt KMS worker/ } `ps -o args= --ppid $postmaster`;
}

# Reading with a cold and a warm cache.
replay();
is(worker_of($standby), 1, 'a standby has a KMS worker');
is(ask($standby, read_message(1)), 'body 1', 'a standby with a cold cache reads');
hide_keys($primary);
is(ask($standby, read_message(1)), 'body 1', 'a standby reads a warm chat without the KMS');
like(ask($standby, read_message(20)), $away,
	'a standby cannot read a cold chat without the KMS, and says so');
show_keys($primary);

# A standby seals, and never writes.
is(ask($standby, q{SELECT chatcrypt.decrypt(3, 7, chatcrypt.encrypt(3, 7, 'sealed on a standby'))}), 'sealed on a standby', 'a standby seals');
my $read_only = qr/ERROR:  cannot execute [\w.() ]+ (in a read-only transaction|during recovery)/;
hide_keys($primary);
like(ask($standby, $_), $read_only, "on a standby there is a plain error for $_")
  foreach 'SELECT chatcrypt.create_chat(99)', 'SELECT chatcrypt.create_chats(ARRAY[98, 99]::bigint[])', 'SELECT chatcrypt.rotate_chat(1)',
  q{SELECT chatcrypt.import_dek(1, decode(repeat('00', 32), 'hex'), 9)}, q{SELECT chatcrypt.shred_chat(1, 'irreversible')},
  q{SELECT chatcrypt.add_participant(1, 'x')}, q{SELECT chatcrypt.create_tenant('t')},
  q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'x')}, q{SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), 'x')},
  q{UPDATE chatcrypt.messages SET body = 'x'}, 'DELETE FROM chatcrypt.messages';
show_keys($primary);
is(ask($standby, q{SELECT (chatcrypt.warm_keys(ARRAY[4, 5]::bigint[])).warmed}), '2',
	'warm_keys() works on a standby');

# Changes to keys on the primary reach idle sessions, and sessions with old snapshots.
my $idle = session($standby);
my $old = session($standby);
answer($old, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
foreach my $session ($idle, $old)
{
	is(answer($session, read_message($_)), "body $_", "chat $_ is warm on the standby") foreach 10 .. 12;
}
is(answer($idle, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(11, 1, $$x$$))'), '1',
	'the standby seals with version 1');
$primary->safe_psql('postgres', q{SELECT chatcrypt.shred_chat(10, 'irreversible'), chatcrypt.rotate_chat(11)});
replay();
like(answer($idle, read_message(10)), qr/was destroyed/, 'an idle session cannot open what was shredded');
like(answer($old, read_message(10)), qr/was destroyed/,
	'a session with an older snapshot cannot open what was shredded');
is(answer($idle, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(11, 1, $$x$$))'), '2',
	'the standby seals with the rotated key');
is(answer($idle, read_message(11)), 'body 11', 'the standby reads what the older key sealed');
$primary->safe_psql('postgres', q{BEGIN; SELECT chatcrypt.create_chat(30, ARRAY['bob']);
	INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(30), 'body 30'); COMMIT});
replay();
is(answer($idle, read_message(30)), 'body 30', 'a new chat arrives on the standby');
answer($old, q{ROLLBACK; BEGIN; SELECT chatcrypt.act_as('bob')});
is(answer($old, read_message(30)), 'body 30', 'an actor reads on a standby');
$primary->safe_psql('postgres', q{SELECT chatcrypt.remove_participant(30, 'bob')});
replay();
like(answer($old, read_message(30)), qr/not a participant/,
	'an actor that was removed on the primary does not read on the standby');
$primary->safe_psql('postgres', 'BEGIN; TRUNCATE chatcrypt.dek; ROLLBACK');
replay();
is(answer($idle, read_message(12)), 'body 12', 'a TRUNCATE that was rolled back changed nothing');

# Promotion.
my $keys = 'SELECT count(*), md5(string_agg(kcv::text, $$|$$ ORDER BY dek_id)) FROM chatcrypt.dek';
my $keys_there = ask($primary, $keys);
$primary->stop;
$standby->promote;
is(ask($standby, $keys), $keys_there, 'promotion keeps every key');
is(answer($idle, read_message(12)), 'body 12', 'sessions of the standby go on after promotion');
is(ask($standby, q{SELECT count(body) FROM chatcrypt.messages WHERE chat_id NOT IN (chatcrypt.to_uuid(10), chatcrypt.to_uuid(20))}), '19',
	'every message reads, but for what was shredded (and a failure that is remembered for 30 s)');
is(ask($standby, q{SELECT chatcrypt.create_chat(40) IS NOT NULL, chatcrypt.rotate_chat(11)}), 't|3',
	'chats and keys can be made after promotion');
is(ask($standby, q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(40), 'body 40')}), '',
	'messages can be written after promotion');
is(worker_of($standby), 1, 'a promoted standby has one KMS worker');

$_->quit foreach $idle, $old;
$standby->stop;
done_testing();
