#!/usr/bin/perl
#
# Proves that scripts/lint refuses what it says that it refuses: every case is a small
# tree of its own, mostly with one file in it, and names what the complaint must say, or that
# there must be none.
#
use strict;
use warnings;
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use Test::More;

my $lint = dirname(__FILE__) . '/../../scripts/lint';

sub lint_of
{
	my (%texts) = @_;
	my $tree = tempdir(CLEANUP => 1);

	make_path("$tree/src");
	foreach my $file (keys %texts)
	{
		make_path("$tree/" . dirname($file));
		open my $out, '>', "$tree/$file" or die "$tree/$file: $!";
		print $out $texts{$file};
		close $out or die "$tree/$file: $!";
	}
	my $said = qx('$^X' '$lint' '$tree' 2>&1);
	return ($? >> 8, $said);
}

sub refuses
{
	my ($file, $text, $why) = @_;
	my ($status, $said) = lint_of($file, $text);
	subtest "refuses $why" => sub {
		is($status, 1, 'the lint fails');
		like($said, qr/^\Q$file\E:\d+: /, 'the complaint names file and line');
	};
	return $said;
}

sub accepts
{
	my ($file, $text, $why) = @_;
	my ($status, $said) = lint_of($file, $text);
	is("$status$said", '0', "accepts $why") or diag($said);
}

# PostgreSQL headers under core and kms, in every spelling that a compiler would take.
foreach my $room (qw(core kms))
{
	foreach my $header (qw(postgres.h postgres_fe.h c.h fmgr.h port.h varatt.h libpq-fe.h
		utils/elog.h utils/palloc.h storage/lwlock.h nodes/nodes.h server/postgres.h))
	{
		refuses("src/$room/bad.c", "#include \"$header\"\n", "\"$header\" in $room");
		refuses("src/$room/bad.h", "#include <$header>\n", "<$header> in $room");
	}
	refuses("src/$room/bad.c", "  #  include   \"postgres.h\"\n", "spaces in a directive of $room");
	refuses("src/$room/bad.c", "#include/**/\"postgres.h\"\n", "a comment in a directive of $room");
	refuses("src/$room/bad.c", "#inc\\\nlude \"postgres.h\"\n", "a directive of $room over two lines");
	refuses("src/$room/bad.c", "#include \\\n\"postgres.h\"\n", "a folded line in $room");
	refuses("src/$room/bad.c", "/* */ #include \"postgres.h\"\n", "a comment before it in $room");
	refuses("src/$room/bad.c", "#define H \"postgres.h\"\n#include H\n", "a macro's header in $room");
	refuses("src/$room/bad.c", "#include \"../pg/base/settings.h\"\n", "a relative path in $room");
	refuses("src/$room/bad.c", "#include \"bytes.h\"\n", "a header without its room in $room");
	refuses("src/$room/bad.c", "#include <curl/curl.h>\n", "libcurl's header in $room");
}

# Includes that point up.
refuses('src/core/bad.c', "#include \"kms/http.h\"\n", 'core including kms');
refuses('src/core/bad.c', "#include \"pg/base/settings.h\"\n", 'core including pg');
refuses('src/core/bad.c', "#include \"worker/transport.h\"\n", 'core including worker');
refuses('src/kms/bad.c', "#include \"pg/base/settings.h\"\n", 'kms including pg');
refuses('src/kms/bad.c', "#include \"worker/loop.h\"\n", 'kms including worker');
refuses('src/pg/bad.c', "#include \"worker/loop.h\"\n", 'pg including worker');
refuses('src/pg/bad.c', "#include \"../worker/loop.h\"\n", 'pg including worker by a path');
refuses('src/core/bad.c', "#include \"guard/chatcrypt_guard.h\"\n", 'core including guard');
foreach my $room (qw(core kms pg worker))
{
	refuses('src/guard/bad.c', "#include \"$room/bytes.h\"\n", "guard including $room");
}
refuses('src/extra/bad.c', "int x;\n", 'a room that the design does not have');

# Floors of src/pg: each room against the one above it, and what is on no floor.
my @floors = qw(base cache store history service access procedures keys messages clients attachments search
	chats seals upkeep status);
foreach my $n (1 .. $#floors)
{
	refuses("src/pg/$floors[$n - 1]/bad.c", "#include \"pg/$floors[$n]/some.h\"\n",
		"pg/$floors[$n - 1] including pg/$floors[$n]");
	accepts("src/pg/$floors[$n]/good.c",
		"#include \"pg/compat.h\"\n#include \"pg/$floors[$n - 1]/some.h\"\n#include \"pg/$floors[$n]/other.h\"\n",
		"pg/$floors[$n] including pg/$floors[$n - 1]");
}
refuses('src/pg/keys/bad.h', "#include \"pg/messages/seal.h\"\n", 'a header of pg/keys including pg/messages');
refuses('src/pg/keys/bad.c', "#include \"pg/init.h\"\n", 'a room of pg including what stands on all of them');
refuses('src/pg/attic/bad.c', "#include \"pg/base/ids.h\"\n", 'a room of pg that is on no floor');
refuses('src/pg/keys/bad.c', "#include \"pg/attic/old.h\"\n", 'a header of a room that is on no floor');
accepts('src/pg/init.c', "#include \"pg/status/doctor.h\"\n", 'init.c including the highest room');

# Circles of includes: a header and the C file of its name are one file.
foreach my $room (qw(core kms worker pg/base pg/service pg/upkeep))
{
	my ($status, $complaint) = lint_of(
		"src/$room/one.c" => "#include \"$room/one.h\"\n#include \"$room/two.h\"\n",
		"src/$room/one.h" => "int one;\n",
		"src/$room/two.h" => "int two;\n",
		"src/$room/two.c" => "#include \"$room/two.h\"\n#include \"$room/three.h\"\n",
		"src/$room/three.h" => "#include \"$room/one.h\"\n");
	is($status, 1, "a circle of three files of $room fails");
	like($complaint, qr{^src/$room/\w+\.[ch]:\d: a circle of includes: (?:src/$room/\w+ -> ){3}src/$room/\w+$}m,
		"the complaint shows the circle in $room");
	($status, $complaint) = lint_of(
		"src/$room/one.c" => "#include \"$room/one.h\"\n#include \"$room/two.h\"\n#include \"$room/three.h\"\n",
		"src/$room/one.h" => "int one;\n",
		"src/$room/two.h" => "#include \"$room/three.h\"\n",
		"src/$room/three.h" => "int three;\n");
	is("$status$complaint", '0', "two ways down to one file of $room are no circle");
}

# Names of what a header declares.
foreach my $room (qw(pg/keys worker))
{
	refuses("src/$room/entries.h", "extern int chatcrypt_something_else(int\n x);\n", "a function of $room that is not named after its file");
	refuses("src/$room/entries.h", "extern const char *const *other(void);\n", "a function of $room without the prefix");
	accepts("src/$room/entries.h", "extern int chatcrypt_entries_count(void);\nextern int chatcrypt_entry_find(int x);\nextern int chatcrypt_entry(void);\n",
		"functions of $room that are named after their file");
}
accepts('src/pg/keys/entries.h', "extern Datum chatcrypt_decrypt(PG_FUNCTION_ARGS);\nPG_FUNCTION_INFO_V1(chatcrypt_decrypt);\n",
	'a function that SQL calls');

# A provider's folder.
foreach my $file (qw(src/kms/providers.c src/kms/local/local.c src/worker/calls.c src/pg/base/settings.c))
{
	refuses($file, "#include \"kms/vault/settings.h\"\n", "$file including a file of the provider vault");
}
accepts('src/kms/vault/login.c', "#include \"kms/vault/session.h\"\n#include \"kms/http.h\"\n",
	'a provider including its own files');
refuses('src/kms/vault/login.c', "#include \"postgres.h\"\n", '"postgres.h" in a provider');

# libcurl, AEAD and versions, each outside its one file.
refuses('src/worker/loop.c', "#include <curl/multi.h>\n", 'libcurl\'s header in another file of worker');
refuses('src/worker/loop.c', "void f(void) { curl_global_init(0); }\n", 'a call of libcurl elsewhere');
refuses('src/worker/transport.h', "extern CURL *handle;\n", 'a type of libcurl in a header');
refuses('src/pg/bad.c', "int r = EVP_EncryptInit_ex(c, 0, 0, k, n);\n", 'EVP encryption in pg');
refuses('src/core/envelope.c', "EVP_CIPHER_CTX *c;\n", 'a cipher context in another file of core');
refuses('src/core/envelope.c', "x = EVP_aes_256_gcm();\n", 'EVP_aes_256_gcm in another file of core');
refuses('src/kms/vault.c', "x = EVP_CIPHER_fetch(0, \"AES-256-GCM\", 0);\n", 'a fetch of a cipher in kms');
refuses('src/core/localwrap.c', "crypto_aead_aes256gcm_encrypt();\n", 'libsodium\'s AEAD elsewhere');
refuses('src/pg/keys/chatkeys.h', "extern void f(void) pg_attribute_noreturn();\n", 'what PostgreSQL 18 lacks');
refuses('src/pg/messages/encrypt.c', "#if PG_VERSION_NUM >= 160000\n#endif\n", 'a version test elsewhere');

my $said = refuses('src/core/bad.c', "/* one\n * two */\nint a;\n#include \\\n\"postgres.h\"\n",
	'the right line');
like($said, qr/^src\/core\/bad\.c:4: /, 'the lint counts lines through comments and continued lines');

# Code that is allowed, and words that only look like offenses.
accepts('src/core/good.c',
	"#include \"core/bytes.h\"\n#include <string.h>\n#include <sys/mman.h>\n#include <openssl/hmac.h>\n"
	  . "#include <sodium.h>\n", 'what core may include');
accepts('src/kms/good.c', "#include \"kms/http.h\"\n#include \"core/bytes.h\"\n#include <openssl/evp.h>\n",
	'what kms may include');
accepts('src/pg/good.c', "#include \"postgres.h\"\n#include \"utils/guc.h\"\n#include \"kms/provider.h\"\n",
	'what pg may include');
accepts('src/guard/good.c', "#include \"postgres.h\"\n#include \"guard/chatcrypt_guard.h\"\n", 'what guard may include');
accepts('src/pg/good.c', "#include \"guard/chatcrypt_guard.h\"\n", 'pg including guard');
accepts('src/worker/loop.c', "#include \"postgres.h\"\n#include \"pg/service/requests.h\"\n#include \"worker/transport.h\"\n",
	'what worker may include');
accepts('src/worker/transport.c', "#include <curl/curl.h>\nCURL *h; void f(void) { curl_easy_init(); }\n",
	'libcurl in its file');
accepts('src/core/aead.c', "#include <openssl/evp.h>\nx = EVP_EncryptInit_ex(c);\ncrypto_aead_aes256gcm_encrypt();\n",
	'AEAD in its file');
accepts('src/pg/compat.h', "#if PG_VERSION_NUM >= 160000\n#endif\n", 'a version test in its file');
accepts('src/core/good.c', "/* unlike #include \"postgres.h\", and EVP_EncryptInit_ex */\n// curl_easy_init\nint a;\n",
	'mere mention in comments');
accepts('src/core/good.c', "/*\n#include \"postgres.h\"\n*/\nint a;\n", 'a directive inside a comment');
accepts('src/core/good.c', "const char *s = \"EVP_EncryptInit /* \";\nconst char *t = \"*/ curl_easy\";\nchar q = '\"';\n",
	'mere mention in strings');
accepts('src/core/good.c', "#include <openssl/evp.h>\nEVP_MD_CTX *c; EVP_MAC *m;\n", 'digests and MACs of EVP');

# Names of files in comments and documents.
refuses('src/pg/keys/bad.c', "/* see keys/gone.c */\n", 'a comment that names a file that is not there');
refuses('src/pg/keys/bad.h', "/*\n * gone.c does the rest.\n */\n", 'the same without a folder');
refuses('docs/bad.md', "The code is in `src/pg/keys/gone.c`.\n", 'a document that names a file that is not there');
refuses('sql/10_bad.sql', "-- See src/pg/keys/gone.c.\n", 'SQL that names a file that is not there');
accepts('src/pg/keys/good.c', "/* good.c, keys/good.c and src/pg/keys/good.c */\n", 'names of files that are there');
accepts('docs/good.md', "Compile your own main.c.\n", 'a document that names a file of somebody else');

done_testing();
