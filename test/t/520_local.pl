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

# Wrapping and unwrapping are refused, and both work again as soon as the file is right: no reload.
sub refused
{
	my ($name, $pattern) = @_;
	make_cold($node);
	my $error = failure($node, read_chat(1));
	like($error, qr/^(F0000|42704) could not unwrap the data key of chat .*$pattern/,
		"$name: unwrapping is refused");
	unlike($error, qr{/[a-z]}, "$name: the error names no path of the server");
	like(failure($node, 'SELECT chatcrypt.create_chat()'), qr/^(F0000|42704) could not make .*$pattern/, "$name: wrapping is refused");
	return;
}

sub mended
{
	my ($name) = @_;
	is(check($node, 'local:main'), 'ok', "$name: kms_check succeeds after the correction");
	is(ask($node, read_chat(1)), 'body 1', "$name: a chat is read after the correction");
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
ok(!-e $file, 'no file: no key file is made');
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
like(check($node, 'local:Main'), qr/^key URI: not a key URI of this provider/,
	'a key name with a capital letter is no key URI');
like(check($node, 'local:../main'), qr/^key URI: not a key URI/,
	'a key name that leads to another folder is no key URI');

# main.key, then main.2.key: the newest version wraps, and all versions unwrap.
sub master_version
{
	my ($chat, $version) = @_;
	return $node->safe_psql('postgres', "SELECT get_byte(encrypted_dek, 4) FROM chatcrypt.dek "
		  . "WHERE chat_id = chatcrypt.to_uuid($chat) AND dek_version = $version");
}
is(master_version(1, 1), '1', 'the first master key wrapped the first data key');
make_key($keys, 'main.2');
is(ask($node, 'SELECT chatcrypt.rotate_chat(1)'), '2',
	'a chat is rotated with a second master key');
is(master_version(1, 2), '2', 'the second master key wraps, without a reload');
make_chats($node, 101, 102);
is(master_version(101, 1), '2', 'the second master key wraps for new chats too');
make_cold($node);
is(ask($node, read_chat(1)), 'body 1', 'a data key that the first master key wrapped unwraps');
is(ask($node, read_chat(101)), 'body 101', 'a data key that the second master key wrapped unwraps');
is(check($node, 'local:main'), 'ok', 'kms_check succeeds with two master keys');
make_key($keys, 'main.10');
is(ask($node, 'SELECT chatcrypt.rotate_chat(1)'), '3',
	'a chat is rotated with a master key of version 10');
is(master_version(1, 3), '10', 'version 10 is newer than version 2, and wraps');
make_key($keys, $_) foreach 'main.011', 'main.x', 'main.1', 'main.12.old', 'Main.13', 'other.14';
is(ask($node, 'SELECT chatcrypt.rotate_chat(1)'), '4',
	'a chat is rotated with files of other names in the folder');
is(master_version(1, 4), '10', 'files of other names are ignored');
chmod 0644, "$keys/main.10.key" or die "$keys/main.10.key: $!";
like(failure($node, 'SELECT chatcrypt.rotate_chat(1)'), qr/^F0000 .*main\.10\.key" is refused/,
	'the newest master key with a wrong mode is refused, and no older one wraps instead');
make_cold($node);
is(ask($node, read_chat(2)), 'body 2',
	'what older master keys wrapped unwraps while the newest one is refused');
chmod 0600, "$keys/main.10.key" or die "$keys/main.10.key: $!";
rename $file, "$keys/kept" or die "$file: $!";
make_cold($node);
like(failure($node, read_chat(2)), qr/^42704 .*could not open key file ".*main\.key"/,
	'what the first master key wrapped does not unwrap without it');
is(ask($node, read_chat(102)), 'body 102',
	'what other master keys wrapped unwraps without the first one');
rename "$keys/kept", $file or die "$file: $!";
set($node);
is(ask($node, read_chat(2)), 'body 2', 'what the first master key wrapped unwraps when it is back');

# The keys of two tenants are two keys.
make_key($keys, 'acme');
$node->safe_psql('postgres', q{SELECT chatcrypt.create_tenant('acme', 'local:acme')});
make_chats($node, 201, 201, 'acme');
rename "$keys/acme.key", "$keys/away" or die "$keys/acme.key: $!";
make_cold($node);
like(failure($node, read_chat(201)), qr/^42704 .*"local:acme"/,
	'a chat of a tenant is not read while the key of that tenant is away');
is(ask($node, read_chat(2)), 'body 2', 'a chat of another tenant is read while that key is away');

# A key that does not exist raises a warning where a tenant gets it, with a hint how to see more.
foreach my $sql (
	q{SELECT chatcrypt.create_tenant('early', 'local:early')},
	q{SELECT chatcrypt.create_tenant('late', 'local:main'); UPDATE chatcrypt.tenant SET kms_key = 'local:early' WHERE tenant = 'late'})
{
	my (undef, undef, $warnings) = $node->psql('postgres', $sql);
	like($warnings, qr/WARNING:  "local:early" cannot make a data key now.*HINT:  SELECT \* FROM chatcrypt\.kms_check\('local:early'\)/s, "a warning: $sql");
}
make_key($keys, 'early');
my (undef, undef, $warnings) = $node->psql('postgres', q{UPDATE chatcrypt.tenant SET kms_key = 'local:main'; UPDATE chatcrypt.tenant SET kms_key = 'local:early'});
is($warnings, '', 'no warning is raised where the key exists');

$node->stop;
done_testing();
