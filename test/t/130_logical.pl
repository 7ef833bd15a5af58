# Logical replication into another cluster: changes to keys on the publisher reach the sessions of
# the subscriber, because the triggers that invalidate fire when changes are applied.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of);
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = Chatcrypt::Test->start('publisher', streaming => 'logical', conf => "chatcrypt.on_decrypt_error = raise\n");
my $subscriber = Chatcrypt::Test->start('subscriber', keys => keys_of($publisher), conf => "chatcrypt.on_decrypt_error = raise\n");

sub read_message
{
	my ($number) = @_;
	return "SELECT body FROM chatcrypt.messages WHERE chat_id = chatcrypt.to_uuid($number)";
}

sub apply
{
	$publisher->wait_for_catchup('everything');
	return;
}

$publisher->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chats(array_agg(g), participants => ARRAY['bob']) FROM generate_series(1::bigint, 10) AS g;
INSERT INTO chatcrypt.messages (message_id, chat_id, body)
	SELECT chatcrypt.to_uuid(g), chatcrypt.to_uuid(g), 'body ' || g FROM generate_series(1, 10) AS g;
CREATE PUBLICATION everything FOR TABLES IN SCHEMA chatcrypt;
SQL
my $source = $publisher->connstr . ' dbname=postgres';
$subscriber->safe_psql('postgres', "CREATE SUBSCRIPTION everything CONNECTION '$source' PUBLICATION everything");
$subscriber->wait_for_subscription_sync($publisher, 'everything');

# Rows arrive, first in bulk and then one by one.
my $idle = session($subscriber);
is(answer($idle, read_message($_)), "body $_", "chat $_ reads on the subscriber") foreach 1 .. 6;
is(answer($idle, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(2, 1, $$x$$))'), '1',
	'the subscriber seals with version 1');
is(answer($idle, 'SELECT chatcrypt.decrypt(3, 1, chatcrypt.encrypt(3, 1, $$x$$))'), 'x',
	'the subscriber seals and opens for chat 3');
is(ask($subscriber, 'SELECT deployment_id FROM chatcrypt.deployment'), ask($publisher, 'SELECT deployment_id FROM chatcrypt.deployment'),
	'the subscriber and the publisher are one deployment');
$publisher->safe_psql('postgres', q{SELECT chatcrypt.create_chat(20);
	INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(20), 'body 20');
	UPDATE chatcrypt.messages SET body = 'edited' WHERE chat_id = chatcrypt.to_uuid(6)});
apply();
is(answer($idle, read_message(20)), 'body 20', 'a new chat arrives on the subscriber');
is(answer($idle, read_message(6)), 'edited', 'an edited message arrives on the subscriber');

# Changes to keys.
$publisher->safe_psql('postgres', q{SELECT chatcrypt.shred_chat(1, 'irreversible'), chatcrypt.rotate_chat(2);
	UPDATE chatcrypt.chat SET mode = 'e2ee' WHERE chat_id = chatcrypt.to_uuid(3)});
apply();
like(answer($idle, read_message(1)), qr/was destroyed/,
	'a shredded chat does not open on the subscriber');
is(answer($idle, 'SELECT chatcrypt.dek_version(chatcrypt.encrypt(2, 1, $$x$$))'), '2',
	'the subscriber seals with the rotated key');
is(answer($idle, read_message(2)), 'body 2', 'the subscriber reads what the older key sealed');
like(answer($idle, 'SELECT chatcrypt.encrypt(3, 1, $$x$$)'), qr/takes no plaintext/,
	'a chat that became e2ee takes no plaintext on the subscriber');
$publisher->safe_psql('postgres', q{DELETE FROM chatcrypt.chat WHERE chat_id = chatcrypt.to_uuid(4)});
apply();
like(answer($idle, read_message(4)), qr/does not exist/,
	'a deleted chat does not exist on the subscriber');

# An actor.
$subscriber->safe_psql('postgres', 'CREATE ROLE app; GRANT chatcrypt_reader TO app');
answer($idle, q{BEGIN; SET LOCAL ROLE app; SELECT chatcrypt.act_as('bob')});
is(answer($idle, read_message(5)), 'body 5', 'an actor reads on the subscriber');
$publisher->safe_psql('postgres', q{SELECT chatcrypt.remove_participant(5, 'bob')});
apply();
is(answer($idle, read_message(5)), '', 'an actor that was removed on the publisher does not read');
$publisher->safe_psql('postgres', q{SELECT chatcrypt.add_participant(5, 'bob')});
apply();
is(answer($idle, read_message(5)), 'body 5',
	'an actor that was added again on the publisher reads again');
answer($idle, 'COMMIT');

# TRUNCATE.
is(answer($idle, read_message(7)), 'body 7', 'chat 7 is warm');
$publisher->safe_psql('postgres', 'TRUNCATE chatcrypt.dek');
apply();
like(answer($idle, read_message(7)), qr/has no data key/, 'TRUNCATE leaves no key that could be used');

$idle->quit;

# The subscriber goes on alone: its sequences start where the publisher's were.
$subscriber->safe_psql('postgres', q{DROP SUBSCRIPTION everything;
	SELECT setval('chatcrypt.dek_dek_id_seq', 1000), setval('chatcrypt.key_event_event_id_seq', (SELECT max(event_id) FROM chatcrypt.key_event))});
is(ask($subscriber, 'SELECT chatcrypt.create_chat(50) IS NOT NULL, chatcrypt.decrypt(50, 1, chatcrypt.encrypt(50, 1, $$x$$))'), 't|x',
	'the subscriber can go on alone');
$_->stop foreach $subscriber, $publisher;
done_testing();
