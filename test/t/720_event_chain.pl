# The sealed history of keys: its notifications, the KMS key of its own key, and dumps.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of make_key);
use File::Basename qw(dirname);
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('chain');
my $problems = 'SELECT count(*) FROM chatcrypt.verify_events()';

# A session that listens learns which events were sealed, and the head of the chain.
my $listener = session($node);
answer($listener, 'LISTEN chatcrypt_key_event');

sub notifications
{
	my $said = $listener->query('SELECT 1');
	return map { JSON::PP::decode_json($_) } $said =~ /notification "chatcrypt_key_event" with payload "(\{.*\})"/g;
}

$node->safe_psql('postgres', q{SELECT chatcrypt.create_chat(1), chatcrypt.create_tenant('Zürich');
	UPDATE chatcrypt.tenant SET rotate_on_removal = true WHERE tenant = 'Zürich'});
is(ask($node, 'SELECT chatcrypt.seal_events()'), '2', 'two events are sealed');
my @said = notifications();
is(scalar(@said), 1, 'sealing sends one notification');
is(ask($node, "SELECT seal_id, event_ids, encode(mac, 'hex') FROM chatcrypt.event_seal"),
	"$said[0]{seal}|$said[0]{events}|$said[0]{mac}", 'the notification holds the seal');
is(ask($node, "SELECT count(*) FROM chatcrypt.verify_events('\\x$said[0]{mac}')"), '0',
	'verify_events() finds the MAC of the notification');
is(ask($node, "SELECT count(*) FROM chatcrypt.verify_events('\\x00')"), '1',
	'verify_events() reports a MAC that is not in the chain');
ask($node, 'BEGIN; SELECT chatcrypt.rotate_chat(1); SELECT chatcrypt.seal_events(); ROLLBACK');
is(scalar(notifications()), 0, 'a seal that is rolled back sends no notification');

# A program that has docs/format.md and the master key alone opens the chain.
$node->safe_psql('postgres', 'SELECT chatcrypt.rotate_chat(1); SELECT chatcrypt.seal_events()');
my $held = ask($node, q{SELECT jsonb_build_object('deployment', replace(deployment_id::text, '-', ''),
		'wrapped', encode(encrypted_key, 'hex'), 'kcv', encode(kcv, 'hex'),
		'seals', (SELECT jsonb_agg(jsonb_build_object('number', seal_id, 'previous_mac', coalesce(encode(previous_mac, 'hex'), repeat('00', 32)),
				'system_id', system_id, 'horizon', coalesce(horizon::text::bigint, 0),
				'sealed_at', (extract(epoch FROM sealed_at - '2000-01-01Z') * 1000000)::bigint, 'event_ids', event_ids,
				'digests', encode(event_digests, 'hex'), 'mac', encode(mac, 'hex')) ORDER BY seal_id) FROM chatcrypt.event_seal))
	FROM chatcrypt.event_chain, chatcrypt.deployment});
my $opened = '';
IPC::Run::run([ '/usr/bin/python3', '-B', dirname($INC{'Chatcrypt/Test.pm'}) . '/../../../reference/open_chain.py', keys_of($node) . '/main.key' ],
	'<', \$held, '>', \$opened);
is($opened, "kcv True\nseal 1 True\nseal 2 True\n",
	'a second implementation unwraps the key of the chain and computes the same seals');
notifications();

$node->safe_psql('postgres', q{INSERT INTO chatcrypt.key_event (event_id, event) SELECT n * 2, 'hand_out' FROM generate_series(1001, 31000) AS n});
is(ask($node, 'SELECT chatcrypt.seal_events(100000)'), '30000',
	'30,000 events with gaps between their ids are sealed');
@said = notifications();
is($said[0]{events}, undef, 'the notification of a seal with many gaps leaves out the ids');
is(ask($node, $problems), '0', 'a seal with many gaps verifies');
is(ask($node, q{SET statement_timeout = '10s'; SELECT chatcrypt.seal_events()}), '0',
	'the next call after a seal with many gaps does not read the table for each gap');
$listener->quit;

# Without the KMS nothing is sealed or verified, and the error says so; nothing is requested where
# there is nothing to seal.
$node->restart;
hide_keys($node);
is(ask($node, 'SELECT chatcrypt.seal_events()'), '0',
	'seal_events() needs no KMS where there is nothing to seal');
$node->safe_psql('postgres', q{UPDATE chatcrypt.tenant SET retention = '1 year'});
like(ask($node, 'SELECT chatcrypt.seal_events()'), qr/^ERROR:  could not unwrap the key of the event chain$/,
	'seal_events() fails without the KMS');
like(ask($node, $problems), qr/^ERROR:  could not unwrap the key of the event chain$/,
	'verify_events() fails without the KMS');
show_keys($node);
is(ask($node, 'SELECT chatcrypt.seal_events() > 0'), 't',
	'seal_events() seals when the KMS is back');

# Another KMS key, and the old one is removed.
make_key(keys_of($node), 'second');
$node->append_conf('postgresql.conf', "chatcrypt.default_kms_key = 'local:second'\n");
$node->reload;
ok($node->poll_query_until('postgres', q{SELECT current_setting('chatcrypt.default_kms_key') = 'local:second'}),
	'another default KMS key is set');
is(ask($node, 'SELECT kms_key FROM chatcrypt.event_chain'), 'local:main',
	'another default KMS key leaves the key of the chain where it was');
my $kcv = ask($node, 'SELECT kcv FROM chatcrypt.event_chain');
is(ask($node, 'SELECT chatcrypt.move_event_key()'), 't',
	'move_event_key() moves the key of the chain');
is(ask($node, 'SELECT kms_key, kcv FROM chatcrypt.event_chain'), "local:second|$kcv",
	'the moved key of the chain is the same key');
rename keys_of($node) . '/main.key', keys_of($node) . '/main.key.gone' or die "main.key: $!";
$node->restart;
is(ask($node, $problems), '0', 'verify_events() does not need the old KMS key any more');
is(ask($node, 'SELECT chatcrypt.seal_events()'), '1',
	'seal_events() seals the event of the move without the old KMS key');

# A dump carries the chain into another cluster and another encoding.
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '--file', $dump, $node->connstr('postgres') ],
	'the database is dumped');
my $mac = ask($node, 'SELECT mac FROM chatcrypt.event_seal ORDER BY seal_id DESC LIMIT 1');
my $other = Chatcrypt::Test->start('other', extension => 0, keys => keys_of($node), conf => "chatcrypt.default_kms_key = 'local:second'\n");
$other->safe_psql('postgres', q{CREATE DATABASE restored ENCODING 'LATIN1' TEMPLATE template0});
$other->command_ok([ 'psql', '--no-psqlrc', '--quiet', '--set=ON_ERROR_STOP=1', '--file', $dump, $other->connstr('restored') ],
	'the dump is restored into another cluster');
is(ask($other, "SELECT count(*) FROM chatcrypt.verify_events('$mac')", 'restored'), '0',
	'the restored chain verifies');
is(ask($other, 'SELECT chatcrypt.seal_events()', 'restored'), '0',
	'no event of the restored database is sealed twice');
is(ask($other, q{UPDATE chatcrypt.tenant SET retention = '2 years'}, 'restored'), '',
	'an event is written in the restored database');
is(ask($other, 'SELECT chatcrypt.seal_events()', 'restored'), '2',
	'new events of the restored database are sealed');
is(ask($other, $problems, 'restored'), '0',
	'the chain verifies, although transaction ids begin anew in the other cluster');
is(ask($other, 'SELECT count(DISTINCT system_id) FROM chatcrypt.event_seal', 'restored'), '2',
	'the seals say which cluster made them');
is(ask($other, q{SET client_encoding = 'UTF8'; SET session_replication_role = replica;
	UPDATE chatcrypt.key_event SET tenant = 'Zurich' WHERE tenant = 'Zürich' AND detail ~ 'removal'}, 'restored'), '',
	'an event is changed in the restored database');
is(ask($other, 'SELECT problem FROM chatcrypt.verify_events()', 'restored'), 'altered',
	'verify_events() reports the changed event');

$_->stop foreach $node, $other;
done_testing();
