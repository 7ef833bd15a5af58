# chatcrypt.require_tls: plaintext travels over TLS and Unix sockets, and over nothing else.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(write_secret);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('tls');
my $data = $node->data_dir;
my $port = PostgreSQL::Test::Cluster::get_free_port();

system_or_bail('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-batch',
	'-subj', '/CN=localhost', '-days', '2', '-keyout', "$data/server.key", '-out', "$data/server.crt");
chmod 0600, "$data/server.key" or die "$data/server.key: $!";
$node->append_conf('pg_hba.conf', "host all all 127.0.0.1/32 trust\n");
$node->append_conf('postgresql.conf', <<"CONF");
ssl = on
listen_addresses = '127.0.0.1'
port = $port
CONF
$node->{_port} = $port;
$node->restart;

my $socket = 'host=' . $node->host . " port=$port dbname=postgres";
my $plain = "host=127.0.0.1 port=$port sslmode=disable dbname=postgres";
my $tls = "host=127.0.0.1 port=$port sslmode=require dbname=postgres";
my $refused = qr/ERROR:  messages are not encrypted or decrypted over an unencrypted connection/;
my $encrypt = q{SELECT chatcrypt.encrypt(1, 1, 'x') IS NOT NULL};
my $read = 'SELECT body FROM chatcrypt.messages';
my $parallel = q{SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SET parallel_leader_participation = off; SET max_parallel_workers_per_gather = 2;};

# As ask() with a connection string instead of a database.
sub ask_over
{
	my ($connection, $sql) = @_;
	my (undef, $rows, $errors) = $node->psql('postgres', $sql, connstr => $connection);
	return $errors =~ /((?:ERROR|FATAL):.*)/ ? $1 : $rows;
}

$node->safe_psql('postgres', q{SELECT chatcrypt.create_chat(1), chatcrypt.create_chat(2, mode => 'conversation_key');
	INSERT INTO chatcrypt.messages (chat_id, body) SELECT chatcrypt.to_uuid(1), 'body' FROM generate_series(1, 2000);
	INSERT INTO chatcrypt.messages (message_id, chat_id, body) VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(2), 'on the wire'); ANALYZE chatcrypt.sealed_message});
is(ask_over($plain, $encrypt), 't', 'plain TCP: encrypt works without require_tls');
$node->append_conf('postgresql.conf', "chatcrypt.require_tls = on\n");
$node->reload;
$node->poll_query_until('postgres', 'SHOW chatcrypt.require_tls', 'on') or die 'require_tls does not come on';

my %calls = (
	encrypt => $encrypt,
	decrypt => q{SELECT chatcrypt.decrypt(1, 1, '\x01')},
	decrypt_bytea => q{SELECT chatcrypt.decrypt_bytea(1, 1, '\x01')},
	try_decrypt => q{SELECT chatcrypt.try_decrypt(1, 1, '\x01')},
	search => q{SELECT * FROM chatcrypt.search(1, 'x')},
	search_tokens => q{SELECT chatcrypt.search_tokens(1, 'x')},
	read => "$read LIMIT 1",
	'parallel read' => "$parallel SELECT count(*) FROM chatcrypt.messages WHERE body = 'body'",
	insert => q{INSERT INTO chatcrypt.messages (chat_id, body) VALUES (chatcrypt.to_uuid(1), 'x')},
	update => q{UPDATE chatcrypt.messages SET body = 'x'},
	put_message => q{SELECT chatcrypt.put_message(chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), 'x')},
	import_dek => q{SELECT chatcrypt.import_dek(1, decode(repeat('00', 32), 'hex'), 9)},
	import_conversation_keys => q{SELECT chatcrypt.import_conversation_keys(ARRAY[chatcrypt.to_uuid(2)], decode(repeat('00', 32), 'hex'))},
	conversation_key => q{SELECT chatcrypt.conversation_key(2)},
	'wire_messages of a managed chat' => q{SELECT wire FROM chatcrypt.wire_messages WHERE chat_id = chatcrypt.to_uuid(1)},
	'accept_wire_message with content' => q{SELECT chatcrypt.accept_wire_message(2, '{"encrypted": false, "content": "x"}')},
	put_attachment => q{SELECT chatcrypt.put_attachment(1, 1, 'x')},
	begin_attachment => q{SELECT chatcrypt.begin_attachment(1, 1)},
	put_attachment_part => q{SELECT chatcrypt.put_attachment_part(1, 0, 'x')},
	finish_attachment => q{SELECT chatcrypt.finish_attachment(1)},
	read_attachment => q{SELECT chatcrypt.read_attachment(1)},
	read_attachment_part => q{SELECT chatcrypt.read_attachment_part(1, 0)},
	attachment_metadata => q{SELECT chatcrypt_internal.attachment_metadata(chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), '\x01')},
	encrypt_attachment => q{SELECT chatcrypt.encrypt_attachment(1, 1, 'x')},
	decrypt_attachment => q{SELECT chatcrypt.decrypt_attachment(1, 1, '\x01')});
like(ask_over($plain, $calls{$_}), $refused, "plain TCP, refused: $_") foreach sort keys %calls;
is(ask_over($plain, 'SELECT count(*) FROM chatcrypt.messages'), '2001',
	'plain TCP: a query that needs no plaintext works');
is(ask_over($plain, q{SELECT chatcrypt.rotate_chat(1)}), '2', 'plain TCP: a rotation works');
is(ask_over($plain, q{SELECT length(chatcrypt.accept_wire_message(2, chatcrypt.wire_message(2, 1) - 'message_id')::text)}), '36',
	'plain TCP: a message that a client encrypts and opens is accepted');

foreach my $way ([ 'TLS', $tls ], [ 'Unix socket', $socket ])
{
	my ($name, $connection) = @$way;
	is(ask_over($connection, $encrypt), 't', "$name: encrypt works");
	is(ask_over($connection, "$read LIMIT 1"), 'body', "$name: a message is read");
	is(ask_over($connection, $calls{'parallel read'}), '2000',
		"$name: messages are read in parallel workers");
	like(ask_over($connection, "$parallel EXPLAIN SELECT count(*) FROM chatcrypt.messages WHERE body = 'body'"), qr/Parallel Seq Scan/,
		"$name: the plan has a parallel scan");
}

# No client can turn the check off.
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; GRANT chatcrypt_reader TO app');
like(ask_over("$plain user=app", 'SET chatcrypt.require_tls = off'), qr/permission denied/,
	'require_tls cannot be turned off by SET');
like(ask_over($plain, q{SET chatcrypt.client_transport = 'tls'}), qr/this setting cannot be set/,
	'client_transport cannot be set to a transport that is not true');
like(ask_over("$plain options='-c chatcrypt.client_transport=tls'", $encrypt), qr/FATAL:  this setting cannot be set/,
	'client_transport cannot be set by a connection option');
like(ask_over("$plain user=app options='-c chatcrypt.require_tls=off'", 'SELECT 1'), qr/permission denied/,
	'require_tls cannot be turned off by a connection option');
like(ask_over($plain, "$_; $encrypt"), $refused,
	"encrypt is refused over plain TCP after $_") foreach 'RESET chatcrypt.client_transport', 'RESET ALL', 'DISCARD ALL';

$node->stop;
done_testing();
