# Databases of other encodings: text is sealed as UTF-8 in all of them.  Text that a database cannot
# represent raises an error, or gives NULL where an error was not wanted.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('encodings', extension => 0);
my %encoding_of = (utf8 => 'UTF8', latin1 => 'LATIN1', ascii => 'SQL_ASCII');
my $folder = PostgreSQL::Test::Utils::tempdir();

# One deployment in three encodings: the first is made, the others get its keys from a dump.
foreach my $database (sort keys %encoding_of)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database TEMPLATE template0 ENCODING '$encoding_of{$database}' LOCALE 'C'");
	$node->safe_psql($database, 'CREATE EXTENSION chatcrypt');
}
$node->safe_psql('utf8', 'SELECT chatcrypt.create_chat(1)');
$node->command_ok([ 'pg_dump', '-f', "$folder/keys.sql", '--data-only', 'utf8' ], 'pg_dump');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($_), '-f', "$folder/keys.sql" ], "restored into $_")
  foreach 'latin1', 'ascii';

# Clients speak UTF-8 to all of them; a SQL_ASCII server just passes bytes on.
sub reply
{
	my ($database, $sql) = @_;
	return ask($node, "SET client_encoding = 'UTF8'; $sql", $database);
}

sub sealed
{
	my ($database, $text) = @_;
	return reply($database, "SELECT chatcrypt.encrypt(1, 1, $text)");
}

my $latin = "gr\xc3\xbc\xc3\x9fe";    # fits LATIN1
my $wide = "\xe2\x82\xac \xf0\x9f\x91\x8b";    # euro sign and a waving hand: does not
my $hex = unpack('H*', $latin);

foreach my $from (sort keys %encoding_of)
{
	my $envelope = sealed($from, "'$latin'");
	like($envelope, qr/^\\x01/, "$from seals");
	foreach my $to (sort keys %encoding_of)
	{
		is(reply($to, "SELECT chatcrypt.decrypt(1, 1, '$envelope')"), $latin, "sealed in $from, opened in $to");
		is(reply($to, "SELECT chatcrypt.decrypt_bytea(1, 1, '$envelope')"), "\\x$hex", "sealed in $from, UTF-8 bytes in $to");
		is(reply($to, "SELECT chatcrypt.try_decrypt(1, 1, '$envelope')"), $latin, "sealed in $from, tried in $to");
	}
}

# What LATIN1 has no letters for.
my $envelope = sealed('utf8', "'$wide'");
is(reply('ascii', "SELECT chatcrypt.decrypt(1, 1, '$envelope')"), $wide, 'SQL_ASCII passes UTF-8 on');
like(reply('latin1', "SELECT chatcrypt.decrypt(1, 1, '$envelope')"),
	qr/ERROR:  the message cannot be shown in the encoding "LATIN1" of this database/, 'LATIN1 cannot show it');
is(reply('latin1', "SELECT chatcrypt.decrypt_bytea(1, 1, '$envelope')"), '\x' . unpack('H*', $wide),
	'LATIN1 can read the bytes of text that it cannot show');
is(reply('latin1', "SELECT chatcrypt.try_decrypt(1, 1, '$envelope') IS NULL"), 't',
	'try_decrypt() in LATIN1 gives NULL for text that it cannot show');
is(reply('latin1', "SELECT chatcrypt.decrypt(1, 1, '" . sealed('utf8', q{''}) . "') = ''"), 't',
	'an empty message is empty in LATIN1');

# In the view, a message that cannot be shown can be changed and deleted all the same, and is never
# overwritten with NULL.
my $at = '2024-05-01 12:00:00+00';
my $in_a_row = sealed('utf8', "'$wide', chatcrypt.row_aad('$at', '$latin')");
is(reply('latin1', qq{INSERT INTO chatcrypt.sealed_message (message_id, chat_id, sender, created_at, encrypted_message, dek_version)
	VALUES (chatcrypt.to_uuid(1), chatcrypt.to_uuid(1), '$latin', '$at', '$in_a_row', 1) RETURNING sender}), $latin,
		'a row of another database is inserted in LATIN1');
my $row = q{SELECT sender, chatcrypt.decrypt_bytea(chat_id, message_id, encrypted_message, chatcrypt.row_aad(created_at, sender)) = '\x}
  . unpack('H*', $wide) . q{' FROM chatcrypt.sealed_message};
like(reply('latin1', 'SELECT body FROM chatcrypt.messages'), qr/cannot be shown/,
	'the view raises an error for text that LATIN1 cannot show');
is(reply('latin1', q{SET chatcrypt.on_decrypt_error = 'null'; SELECT body IS NULL FROM chatcrypt.messages}), 't',
	'the view shows NULL for text that LATIN1 cannot show where on_decrypt_error is null');
is(reply('latin1', q{UPDATE chatcrypt.messages SET sender = 'alice'; } . $row), 'alice|t',
	'the sender of a message that cannot be shown can be changed');
is(reply('latin1', q{SET chatcrypt.on_decrypt_error = 'null'; UPDATE chatcrypt.messages SET sender = 'bob', body = body; } . $row),
	'bob|t', 'the body of a message that cannot be shown stays when its sender is changed');
is(reply('latin1', q{DELETE FROM chatcrypt.messages RETURNING message_id = chatcrypt.to_uuid(1)}), 't',
	'a message that cannot be shown can be deleted');

# The sender is bound as UTF-8 too, in whatever encoding the database is.
is(reply($_, "SELECT chatcrypt.row_aad('$at', '$latin')"), '\x726f77000006176339d9300001' . $hex, "a sender is bound as UTF-8 in $_")
  foreach sort keys %encoding_of;
is(reply('latin1', qq{INSERT INTO chatcrypt.messages (message_id, chat_id, sender, created_at, body)
	VALUES (chatcrypt.to_uuid(2), chatcrypt.to_uuid(1), repeat('$latin', 1000), '$at', '$latin'); SELECT body FROM chatcrypt.messages}), $latin,
	'a message of a long sender in LATIN1 opens');
my $moved = reply('latin1', 'SELECT encrypted_message FROM chatcrypt.sealed_message');
is(reply('utf8', qq{SELECT chatcrypt.decrypt(1, 2, '$moved', chatcrypt.row_aad('$at', repeat('$latin', 1000)))}), $latin,
	'a message of a long sender in LATIN1 opens in UTF8');

# Bytes that are not UTF-8 are not sealed as text.
like(reply('ascii', q{SELECT chatcrypt.encrypt(1, 1, convert_from('\xfc', 'SQL_ASCII'))}), qr/ERROR:  the message is not text in UTF-8/,
	'SQL_ASCII: text that is not UTF-8 is refused');
is(reply('ascii', q{SELECT chatcrypt.decrypt_bytea(1, 1, chatcrypt.encrypt(1, 1, '\xfc'::bytea))}), '\xfc',
	'SQL_ASCII: bytes that are not UTF-8 are sealed');

# Long messages, where a conversion grows and shrinks.
is(reply('latin1', qq{SELECT md5(chatcrypt.decrypt(1, 1, chatcrypt.encrypt(1, 1, repeat('\xc3\xbc', 100000)))) = md5(repeat('\xc3\xbc', 100000))}), 't',
	'a long message in LATIN1 is sealed and opened');

$node->stop;
done_testing();
