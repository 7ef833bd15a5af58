# Provider local in SQL: key files that are refused, and a new version of a master key.
use strict;
use warnings;
use Chatcrypt::Kms;
use Chatcrypt::Sessions;
use Chatcrypt::Test qw(keys_of make_key write_secret);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = Chatcrypt::Test->start('local');
my $keys = keys_of($node);
my $file = "$keys/main.key";
my $key = slurp_file($file);

is(check($node, 'local:main'), 'ok', 'kms_check finds nothing wrong');
make_chats($node, 1, 60);

# Wrapping is refused and unwrapping too, and the moment all is well again it works: no reload.
sub refused
{
	my ($name, $pattern) = @_;
	make_cold($node);
	my $error = failure($node, read_chat(1));
	like($error, qr/^(F0000|42704) could not unwrap the data key of chat .*$pattern/, "$name: refused");
	unlike($error, qr{/[a-z]}, "$name: the error names no path of the server");
	like(failure($node, 'SELECT chatcrypt.create_chat()'), qr/^(F0000|42704) could not make .*$pattern/, "$name: for new keys as well");
	return;
}

sub mended
{
	my ($name) = @_;
	is(check($node, 'local:main'), 'ok', "$name: mended");
	is(ask($node, read_chat(1)), 'body 1', "$name: and works");
	return;
}

foreach my $mode (0640, 0604, 0700, 0660)
{
	my $name = sprintf 'mode %04o', $mode;
	chmod $mode, $file or die "$file: $!";
	refused($name, qr/file ".*main\.key" is refused: /);
	chmod 0600, $file or die "$file: $!";
	mended($name);
}
foreach my $case ([ '63 digits', substr($key, 1) ], [ '65 digits', "0$key" ], [ 'no digits', 'x' x 64 ], [ 'nothing', '' ],
	[ 'two lines', $key . $key ], [ '32 bytes', pack('H*', substr $key, 0, 64) ])
{
	my ($name, $content) = @$case;
	write_secret($file, $content);
	refused($name, qr/file ".*main\.key" is refused: /);
	write_secret($file, $key);
	mended($name);
}
rename $file, "$keys/elsewhere" or die "$file: $!";
symlink 'elsewhere', $file or die "$file: $!";
refused('a link', qr/file ".*main\.key" is refused: /);
unlink $file or die "$file: $!";
refused('no file', qr/(?:could not open|there is no) key file ".*main\.key"/);
ok(!-e $file, 'which is not made');
link "$keys/elsewhere", $file or die "$file: $!";
refused('a second name', qr/file ".*main\.key" is refused: /);
unlink "$keys/elsewhere" or die "$keys/elsewhere: $!";
mended('a second name');
chmod 0770, $keys or die "$keys: $!";
refused('a folder that the group can write', qr/key folder of chatcrypt.local_key_dir is refused: /);
chmod 0700, $keys or die "$keys: $!";
mended('the folder');

my $inside = $node->data_dir . '/keys';
mkdir $inside, 0700 or die "$inside: $!";
write_secret("$inside/main.key", $key);
set($node, 'chatcrypt.local_key_dir' => $inside);
refused('a folder inside the data directory', qr/key folder of chatcrypt.local_key_dir is refused: .*data directory/);
my $link = PostgreSQL::Test::Utils::tempdir() . '/link';
symlink $inside, $link or die "$link: $!";
set($node, 'chatcrypt.local_key_dir' => $link);
refused('a link into it', qr/key folder of chatcrypt.local_key_dir is refused: .*data directory/);
set($node, 'chatcrypt.local_key_dir' => 'keys');
refused('a relative path', qr/absolute/);
set($node, 'chatcrypt.local_key_dir' => '');
refused('no folder', qr/local_key_dir/);
set($node, 'chatcrypt.local_key_dir' => $keys);
mended('the setting');
like(check($node, 'local:Main'), qr/^key URI: not a key URI of this provider/, 'names are what they are');
like(check($node, 'local:../main'), qr/^key URI: not a key URI/, 'and lead nowhere else');

# main.key, then main.2.key: the newest wraps, all unwrap.
sub master_version
{
	my ($chat, $version) = @_;
	return $node->safe_psql('postgres', "SELECT get_byte(encrypted_dek, 4) FROM chatcrypt.dek "
		  . "WHERE chat_id = chatcrypt.to_uuid($chat) AND dek_version = $version");
}
is(master_version(1, 1), '1', 'the first master key wrapped what there is');
make_key($keys, 'main.2');
is(ask($node, 'SELECT chatcrypt.rotate_chat(1)'), '2', 'with a second one there');
is(master_version(1, 2), '2', 'it wraps, without a reload');
make_chats($node, 101, 102);
is(master_version(101, 1), '2', 'for new chats too');
make_cold($node);
is(ask($node, read_chat(1)), 'body 1', 'what the first one wrapped unwraps');
is(ask($node, read_chat(101)), 'body 101', 'and what the second did');
is(check($node, 'local:main'), 'ok', 'kms_check re-wraps');
make_key($keys, 'main.10');
is(ask($node, 'SELECT chatcrypt.rotate_chat(1)'), '3', 'ten is more than two');
is(master_version(1, 3), '10', 'and wraps');
make_key($keys, $_) foreach 'main.011', 'main.x', 'main.1', 'main.12.old', 'Main.13', 'other.14';
is(ask($node, 'SELECT chatcrypt.rotate_chat(1)'), '4', 'files of other names');
is(master_version(1, 4), '10', 'are not looked at');
chmod 0644, "$keys/main.10.key" or die "$keys/main.10.key: $!";
like(failure($node, 'SELECT chatcrypt.rotate_chat(1)'), qr/^F0000 .*main\.10\.key" is refused/, 'the newest one with a wrong mode: no older one steps in');
make_cold($node);
is(ask($node, read_chat(2)), 'body 2', 'what the older ones wrapped unwraps all the same');
chmod 0600, "$keys/main.10.key" or die "$keys/main.10.key: $!";
rename $file, "$keys/kept" or die "$file: $!";
make_cold($node);
like(failure($node, read_chat(2)), qr/^42704 .*could not open key file ".*main\.key"/, 'without the first one, what it wrapped does not');
is(ask($node, read_chat(102)), 'body 102', 'and the rest does');
rename "$keys/kept", $file or die "$file: $!";
set($node);
is(ask($node, read_chat(2)), 'body 2', 'until it is back');

# Keys of two tenants are two keys.
make_key($keys, 'acme');
$node->safe_psql('postgres', q{SELECT chatcrypt.create_tenant('acme', 'local:acme')});
make_chats($node, 201, 201, 'acme');
rename "$keys/acme.key", "$keys/away" or die "$keys/acme.key: $!";
make_cold($node);
like(failure($node, read_chat(201)), qr/^42704 .*"local:acme"/, 'a tenant\'s own key is away');
is(ask($node, read_chat(2)), 'body 2', 'which is no matter of others');

# A key that is not there is told of where a tenant gets it, and how to see more.
foreach my $sql (
	q{SELECT chatcrypt.create_tenant('early', 'local:early')},
	q{SELECT chatcrypt.create_tenant('late', 'local:main'); UPDATE chatcrypt.tenant SET kms_key = 'local:early' WHERE tenant = 'late'})
{
	my (undef, undef, $warnings) = $node->psql('postgres', $sql);
	like($warnings, qr/WARNING:  "local:early" makes no data key now.*HINT:  SELECT \* FROM chatcrypt\.kms_check\('local:early'\)/s, "a warning: $sql");
}
make_key($keys, 'early');
my (undef, undef, $warnings) = $node->psql('postgres', q{UPDATE chatcrypt.tenant SET kms_key = 'local:main'; UPDATE chatcrypt.tenant SET kms_key = 'local:early'});
is($warnings, '', 'no warning where the key is there');

$node->stop;
done_testing();
