# Every function of the extension, and the view, with arguments that no caller would pass: null,
# empty, huge, damaged, hostile.  Nothing crashes, nothing is an internal error, and no message and
# no line of the log shows a body.
#
# RANDOM_SEED and RANDOM_CALLS choose another run; the seed of a run is in its output.
use strict;
use warnings;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of make_key);
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{RANDOM_SEED} // 20261121;
my $calls = $ENV{RANDOM_CALLS} // 4000;
my $marker = 'Zk9BodyMarker9kZ';
my $marker_hex = unpack('H*', $marker);
srand($seed);
diag("seed $seed, $calls calls");

my $node = Chatcrypt::Test->start('random', conf => <<'CONF');
log_statement = none
log_min_error_statement = panic
log_error_verbosity = verbose
chatcrypt.kms_timeout = '300ms'
statement_timeout = '20s'
CONF
$node->safe_psql('postgres', <<'SQL');
SELECT chatcrypt.create_chat(g, ARRAY['alice', 'bob']) FROM generate_series(1, 6) AS g;
SELECT chatcrypt.create_chat(7, mode => 'conversation_key'), chatcrypt.create_chat(8, mode => 'e2ee');
SELECT chatcrypt.create_tenant('gone', 'local:gone');
INSERT INTO chatcrypt.messages (message_id, chat_id, body) SELECT chatcrypt.to_uuid(g), chatcrypt.to_uuid(1 + g % 7), 'first' FROM generate_series(1, 60) AS g;
CREATE ROLE writes; GRANT chatcrypt_writer TO writes;
CREATE ROLE reads; GRANT chatcrypt_reader TO reads;
CREATE ROLE both_of_them; GRANT chatcrypt_writer, chatcrypt_reader TO both_of_them;
CREATE ROLE administers; GRANT chatcrypt_admin, chatcrypt_auditor TO administers;
CREATE ROLE nothing;
GRANT USAGE ON SCHEMA chatcrypt TO nothing;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA chatcrypt, chatcrypt_internal TO nothing;
SQL

sub one_of
{
	return $_[ int(rand(scalar @_)) ];
}

my @envelopes = split /\n/, ask($node, 'SELECT encrypted_message FROM chatcrypt.sealed_message LIMIT 30');
push @envelopes, split /\n/, ask($node, q{SELECT chatcrypt.encrypt(g, g, ''::text) FROM generate_series(1, 7) AS g});
push @envelopes, ask($node, q{SELECT chatcrypt.encrypt(1, 1, '\xff00fe'::bytea)}), ask($node, q{SELECT chatcrypt.encrypt(1, 1, 'x', 'aad')});

sub random_bytes
{
	my ($length) = @_;
	return join '', map { sprintf '%02x', int(rand(256)) } 1 .. $length;
}

sub damaged
{
	my $bytes = substr(one_of(@envelopes), 2);
	my $at = 2 * int(rand(length($bytes) / 2));
	my $how = int(rand(4));
	return substr($bytes, 0, $at) if $how == 0;
	return $bytes . random_bytes(1 + int(rand(20))) if $how == 1;
	substr($bytes, $at, 2) = random_bytes(1);
	return $bytes;
}

# A wire message, right or wrong in any of its fields.
sub wire
{
	my %wire = (
		encrypted => one_of('true', 'false', 'false', 'null', '7'),
		content => one_of(qq{"$marker"}, qq{"$marker"}, '""', 'null', '[]'),
		encrypted_payload => one_of('""', '"' . 'QUFB' x int(rand(30)) . '"', '"AA="', 'null', '{}'),
		nonce => one_of('"' . 'QUFB' x 8 . '"', '"' . 'QUFB' x 8 . '"', '"QUFB"', 'null'),
		message_id => one_of(int(rand(60)), '1e400', '"x"', 'null', '"00000000-0000-8000-8000-000000000001"'),
		chat_id => one_of(int(rand(9)), 'null'),
		sender => one_of('"alice"', '"bob"', 'null', '1'),
		created_at => one_of('"2020-01-01"', '"infinity"', '"x"', 'null'),
		key_version => one_of(0, 1, 2, -1, 1.5, '1e9', '99999999999', 'null'));
	delete $wire{$_} foreach grep { int(rand(3)) == 0 } keys %wire;
	return "'{" . join(', ', map { qq{"$_": $wire{$_}} } sort keys %wire) . "}'";
}

# Values of a type; values of a type that holds a body include the marker.
my %values = (
	uuid => sub { one_of("chatcrypt.to_uuid(" . int(rand(9)) . ")", "chatcrypt.to_uuid(" . int(rand(60)) . ")",
			q{'00000000-0000-0000-0000-000000000000'::uuid}, q{'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid}, 'gen_random_uuid()') },
	int8 => sub { one_of(int(rand(9)), int(rand(9)), int(rand(60)), 0, -1, 9223372036854775807, '(-9223372036854775808)') . '::bigint' },
	int4 => sub { one_of(0, 1, 2, 3, -1, 2147483647, '(-2147483648)', 1000000000, 1000000001, int(rand(100))) . '::integer' },
	bool => sub { one_of('true', 'false') },
	timestamptz => sub { one_of(q{'infinity'}, q{'-infinity'}, 'now()', q{'0001-01-01 BC'}, q{'294276-12-31'}) . '::timestamptz' },
	interval => sub { one_of(q{'0'}, q{'1 day'}, q{'-1 year'}, q{'178000000 years'}) . '::interval' },
	text => sub { one_of(q{''}, q{'x'}, q{'alice'}, q{'bob'}, q{'default'}, q{'gone'}, q{'managed'}, q{'e2ee'}, q{'conversation_key'}, q{'data'}, q{'search'},
			q{'conversation'}, q{'irreversible'}, q{'local:main'}, q{'local:../../etc/passwd'}, q{'vault:transit/chat'}, q{'%s%n%x%d'}, q{E'\n\t\001"\\\\'},
			q{repeat('long ', 40000)}, q{$$'; DROP TABLE chatcrypt.dek; --$$}, q{U&'\+01F44B'}) . '::text' },
	bytea => sub { one_of(q{'\x'}, "'" . one_of(@envelopes) . "'", "'" . one_of(@envelopes) . "'", "'\\x" . damaged() . "'", "'\\x" . damaged() . "'", "'\\x" . random_bytes(32) . "'",
			"'\\x" . random_bytes(int(rand(200))) . "'", q{decode(repeat('00', 70000), 'hex')}, q{decode(repeat('01', 1000000), 'hex')}) . '::bytea' },
	jsonb => sub { one_of(q{'{}'}, q{'[]'}, q{'null'}, wire(), wire(), wire(), wire(), q{(SELECT wire FROM chatcrypt.wire_messages ORDER BY random() LIMIT 1)},
			q{(SELECT wire - 'message_id' FROM chatcrypt.wire_messages ORDER BY random() LIMIT 1)}) . '::jsonb' },
	oid => sub { one_of('0', '1259', q{'chatcrypt.sealed_message'::regclass}, '4294967295') . '::oid' },
	name => sub { one_of(q{''}, q{'body'}, q{repeat('x', 63)}) . '::name' },
	regclass => sub { one_of(q{'chatcrypt.sealed_message'}, q{'pg_class'}, q{'chatcrypt.messages'}) . '::regclass' });
my %bodies = (
	text => sub { one_of("'$marker'", "repeat('$marker', 5000)", q{''}, "'$marker' || chr(233) || chr(128075)") . '::text' },
	bytea => sub { one_of("'\\x$marker_hex'", "decode(repeat('$marker_hex', 5000), 'hex')", "'\\x${marker_hex}ff00'", one_of("'\\x01$marker_hex'", "'\\x0100000001" . $marker_hex x 3 . "'")) . '::bytea' });

sub array_of
{
	my ($element) = @_;
	my $value = $values{$element};
	my $type = { int8 => 'bigint', int4 => 'integer', bool => 'boolean' }->{$element} // $element;
	my $how = int(rand(7));
	return "'{}'::${type}[]" if $how == 0;
	return "ARRAY[NULL]::${type}[]" if $how == 1;
	return 'ARRAY[[' . join('], [', map { join(', ', $value->(), $value->()) } 1 .. 2) . "]]::${type}[]" if $how == 2;
	return "(SELECT array_agg(chatcrypt.to_uuid(g)) FROM generate_series(1, 2000) AS g)" if $how == 3 && $element eq 'uuid';
	return "array_fill(" . $value->() . ", ARRAY[3], ARRAY[-5])" if $how == 4;
	return 'ARRAY[' . join(', ', map { int(rand(8)) == 0 ? 'NULL' : $value->() } 1 .. 1 + int(rand(5))) . "]::${type}[]";
}

sub value_of
{
	my ($type, $name) = @_;
	return "NULL::$type" if int(rand(12)) == 0;
	return $values{$1} ? array_of($1) : "NULL::$type" if $type =~ /^_(.*)/;
	if ($bodies{$type} && $name =~ /^(plaintext|body|aad|dek|envelope)$/)
	{
		return $bodies{$type}->() if $name =~ /^(plaintext|body)$/ || int(rand(3)) == 0;
	}
	return $values{$type} ? $values{$type}->() : "NULL::$type";
}

# Name, kind, and the types and names of the arguments of everything that can be called.
my @functions = map { [ split /\|/, $_, -1 ] } split /\n/, ask($node, q{
	SELECT proname, prokind, array_to_string(ARRAY(SELECT coalesce(b.typname, t.typname) FROM unnest(proargtypes) WITH ORDINALITY AS a (t, n)
			JOIN pg_type AS t ON t.oid = a.t LEFT JOIN pg_type AS b ON b.oid = t.typbasetype ORDER BY n), ' '),
		array_to_string(proargnames[1:pronargs], ' '), pronargdefaults
	FROM pg_proc WHERE pronamespace IN ('chatcrypt'::regnamespace, 'chatcrypt_internal'::regnamespace) AND prorettype <> 'trigger'::regtype AND prokind IN ('f', 'p')
		AND prolang <> (SELECT oid FROM pg_language WHERE lanname = 'internal') ORDER BY oid});
cmp_ok(scalar @functions, '>', 30, 'there are more than 30 functions to call');

sub random_call
{
	my ($name, $kind, $types, $names, $defaults) = @{ one_of(@functions) };
	my @types = split / /, $types;
	my @names = split / /, $names;
	my $given = @types - int(rand($defaults + 1));
	my $arguments = join ', ', map { value_of($types[$_], $names[$_] // '') } 0 .. $given - 1;
	return "CALL chatcrypt.$name($arguments)" if $kind eq 'p';
	return "SELECT count(r::text) FROM (SELECT chatcrypt.$name($arguments) AS r) AS q";
}

sub random_write
{
	my $id = $values{uuid};
	my $body = value_of('text', 'body');
	return one_of(
		"INSERT INTO chatcrypt.messages (message_id, chat_id, sender, body) VALUES (" . join(', ', value_of('uuid', ''), value_of('uuid', ''), value_of('text', ''), $body) . ')',
		"INSERT INTO chatcrypt.messages (chat_id, body) SELECT chatcrypt.to_uuid(g), $body FROM generate_series(1, " . int(rand(9)) . ') AS g RETURNING message_id',
		"INSERT INTO chatcrypt.messages (chat_id, body, created_at, expires_at) VALUES (" . join(', ', value_of('uuid', ''), $body, value_of('timestamptz', ''), value_of('timestamptz', '')) . ')',
		"UPDATE chatcrypt.messages SET body = $body WHERE message_id = " . $id->(),
		"UPDATE chatcrypt.messages SET chat_id = " . value_of('uuid', '') . ", body = $body WHERE message_id = " . $id->(),
		"UPDATE chatcrypt.messages SET message_id = " . value_of('uuid', '') . " WHERE message_id = " . $id->() . ' RETURNING message_id',
		"UPDATE chatcrypt.messages SET sender = length(body || $body)::text WHERE chat_id = " . $id->(),
		"DELETE FROM chatcrypt.messages WHERE message_id = " . $id->(),
		"UPDATE chatcrypt.sealed_message SET encrypted_message = " . value_of('bytea', '') . " WHERE message_id = " . $id->(),
		"SELECT count(body) FROM chatcrypt.messages WHERE body > $body",
		"DO \$do\$ DECLARE b text := $body; BEGIN INSERT INTO chatcrypt.messages (chat_id, body) VALUES (" . value_of('uuid', '') . ", b); EXCEPTION WHEN others THEN RAISE NOTICE '%', SQLSTATE; END \$do\$",
		"DO \$do\$ DECLARE b text := $body; BEGIN INSERT INTO chatcrypt.messages (chat_id, body) VALUES (" . value_of('uuid', '') . ", b); END \$do\$");
}

# Sessions differ in their settings, and transactions end in every way.
my @settings = map { "SET $_" } 'ROLE reads', 'ROLE writes', 'ROLE both_of_them', 'ROLE administers', 'ROLE nothing',
  q{chatcrypt.on_decrypt_error = 'null'}, 'plan_cache_mode = force_generic_plan', q{search_path = ''};
my @lines = ('\set VERBOSITY verbose', '\set ON_ERROR_STOP off', '\o /dev/null');
foreach my $number (1 .. $calls)
{
	push @lines, 'ROLLBACK; RESET ALL; RESET ROLE;' if $number % 8 == 0;
	push @lines, one_of(@settings) . ';' if int(rand(15)) == 0;
	push @lines, one_of('BEGIN', 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SAVEPOINT s', 'ROLLBACK TO s', 'ROLLBACK', 'COMMIT', 'COMMIT',
		q{SELECT chatcrypt.act_as('alice')}) . ';' if int(rand(10)) == 0;
	push @lines, (int(rand(3)) == 0 ? random_write() : random_call()) . ';';
	push @lines, 'ROLLBACK; RESET ROLE; SELECT chatcrypt.create_chat(' . (1 + int(rand(8))) . ', ARRAY[$$alice$$]);' if $number % 40 == 0;
}
push @lines, 'ROLLBACK; RESET ROLE; SELECT $$the end$$ AS reached \gset', '\warn :reached';

my $script = PostgreSQL::Test::Utils::tempdir() . '/calls.sql';
append_to_file($script, join("\n", @lines) . "\n");
my ($out, $err) = ('', '');
IPC::Run::run([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-f', $script ], '>', \$out, '2>', \$err);
like($err, qr/the end$/, 'the session reached the end of its calls') or diag(substr($err, -2000));
unlike($err, qr/server closed the connection|connection to server was lost/,
	'the session was never cut off');

my $log = slurp_file($node->logfile);
my @internal = $log =~ /^.*(?:ERROR|FATAL|PANIC):  XX.*$/mg;
is(scalar @internal, 0, 'the log has no internal error') or diag(join "\n", @internal);
unlike($log, qr/terminated by signal|TRAP:|PANIC:/, 'the log has no crash and no failed assertion');
foreach my $what ([ 'the log', $log ], [ 'what the client was told', $err ])
{
	my ($where, $text) = @$what;
	my @shown = $text =~ /^.*(?:$marker|$marker_hex).*$/mgi;
	is(scalar @shown, 0, "no body in $where") or diag(substr($shown[0], 0, 500));
}
my $errors = () = $log =~ /ERROR:  /g;
cmp_ok($errors, '>', $calls / 10, 'many calls were refused');
cmp_ok($errors, '<', $calls * 0.95, 'many calls were not refused');
is(ask($node, q{SELECT chatcrypt.create_chat(99) IS NOT NULL, chatcrypt.decrypt(99, 1, chatcrypt.encrypt(99, 1, 'still here'))}), 't|still here',
	'the server works after the calls');

$node->stop;
done_testing();
