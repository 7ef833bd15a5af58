/*
 * test_kms_local.c
 *		The provider `local` on real files: what it wraps and unwraps, and which
 *		files and folders it refuses.
 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/localwrap.h"
#include "kms/errtext.h"
#include "kms/providers.h"
#include "kms/secretfile.h"

#define KEY_1 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define KEY_2 "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"

/* The user that the server runs as: the owner of our files, unless a test names another. */
static uid_t pretended_uid;
static bool pretending;

uid_t
geteuid(void)
{
	return pretending ? pretended_uid : (uid_t) syscall(SYS_geteuid);
}

static char base[] = "/tmp/cc_kms_local_XXXXXX";
static char keys[128];
static char data[128];

/* A path below the base; valid until the fourth call after this one. */
static const char *
in(const char *dir, const char *name)
{
	static char paths[4][640];
	static int	next;

	next = (next + 1) % 4;
	snprintf(paths[next], sizeof(paths[next]), "%s/%s", dir, name);
	return paths[next];
}

static void
put(const char *path, const char *text, mode_t mode)
{
	FILE	   *file;

	unlink(path);
	file = fopen(path, "w");
	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0 || chmod(path, mode) != 0)
	{
		printf("Bail out! could not write %s: %s\n", path, strerror(errno));
		exit(1);
	}
}

static void
make_dir(const char *path, mode_t mode)
{
	if ((mkdir(path, mode) != 0 && errno != EEXIST) || chmod(path, mode) != 0)
	{
		printf("Bail out! could not make %s: %s\n", path, strerror(errno));
		exit(1);
	}
}

/* Deletes all files of a folder. */
static void
empty(const char *path)
{
	DIR		   *dir = opendir(path);
	struct dirent *entry;

	while (dir != NULL && (entry = readdir(dir)) != NULL)
	{
		if (entry->d_name[0] != '.' && unlink(in(path, entry->d_name)) != 0)
			rmdir(in(path, entry->d_name));
	}
	if (dir != NULL)
		closedir(dir);
}

static int
entries(const char *path)
{
	DIR		   *dir = opendir(path);
	int			count = 0;

	while (dir != NULL && readdir(dir) != NULL)
		count++;
	if (dir != NULL)
		closedir(dir);
	return count - 2;
}

/* A good folder with version 1 of the key main, and no other file. */
static void
reset(void)
{
	pretending = false;
	make_dir(keys, 0700);
	empty(keys);
	put(in(keys, "main.key"), KEY_1 "\n", 0600);
}

static cc_kms_outcome
run_in(const char *dir, cc_kms_op op, const char *uri, cc_kms_item *item)
{
	cc_kms_value value = {.text = dir};
	cc_kms_config config = {.values = &value, .data_directory = data};
	char		error[CC_KMS_ERROR_MAX] = "";
	cc_kms_session *session = cc_kms_local.open(&config, error);
	cc_kms_batch batch = {.op = op, .items = &item, .nitems = 1};

	if (session == NULL)
	{
		cc_kms_item_fail(item, CC_KMS_CONFIG, error);
		return item->outcome;
	}
	snprintf(batch.kms_key, sizeof(batch.kms_key), "%s", uri);
	item->outcome = CC_KMS_SPLIT;	/* which perform never says */
	cc_kms_local.perform(session, &batch);
	cc_kms_local.close(session);
	return item->outcome;
}

static cc_kms_outcome
run(cc_kms_op op, cc_kms_item *item)
{
	return run_in(keys, op, "local:main", item);
}

static cc_kms_item
new_item(void)
{
	cc_kms_item item;

	memset(&item, 0, sizeof(item));
	unit_fill(item.context, sizeof(item.context));
	unit_fill(item.dek, sizeof(item.dek));
	return item;
}

static bool
says(const cc_kms_item *item, const char *words)
{
	/* in no case is a part of a key in the text */
	return strstr(item->error, words) != NULL && strstr(item->error, "0011") == NULL &&
		strstr(item->error, "ffee") == NULL;
}

static void
uris(void)
{
	static const char *const good[] = {"local:a", "local:main", "local:a-b_9",
		"local:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	static const char *const bad[] = {"local:", "local:Main", "local:a/b", "local:../a", "local:a.b",
		"local:.", "local:a b", "local:a\n", "local:a%00", "locale:a", "LOCAL:a", "local", "",
		"local:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "vault:a/b"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK_AT(cc_kms_local.check_uri(good[i]) == CC_OK, i);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_AT(cc_kms_local.check_uri(bad[i]) == CC_ERR_SYNTAX, i);
	for (int i = 0; i < CC_KMS_PROVIDER_COUNT; i++)
	{
		const cc_kms_provider *provider = cc_kms_provider_at(i);

		CHECK_AT(cc_kms_provider_for(provider->example_uri) == provider, i);
		CHECK_AT(provider->check_uri(provider->example_uri) == CC_OK, i);
	}
	CHECK(cc_kms_provider_for("local:main") == &cc_kms_local);
	CHECK(cc_kms_provider_for("vault:a/b") == &cc_kms_vault);
	CHECK(cc_kms_provider_for("local") == NULL);
	CHECK(cc_kms_provider_for("") == NULL);
	CHECK(cc_kms_provider_for(":a") == NULL);
	CHECK(cc_kms_provider_for("loca:a") == NULL);
	CHECK(cc_kms_provider_for("aws-kms:a") == NULL);
}

static void
wrap_and_unwrap(void)
{
	cc_kms_item item = new_item();
	cc_kms_item back = item;

	reset();
	CHECK(run(CC_KMS_WRAP, &item) == CC_KMS_OK && item.error[0] == '\0');
	CHECK(item.wrapped_len == CC_LOCALWRAP_LEN);
	CHECK(memcmp(item.wrapped, "\x01\0\0\0\x01", 5) == 0);
	memcpy(back.wrapped, item.wrapped, item.wrapped_len);
	back.wrapped_len = item.wrapped_len;
	memset(back.dek, 0, sizeof(back.dek));
	CHECK(run(CC_KMS_UNWRAP, &back) == CC_KMS_OK);
	CHECK(memcmp(back.dek, item.dek, sizeof(item.dek)) == 0);
}

static void
generate(void)
{
	cc_kms_item item = new_item();
	cc_kms_item other = item;
	uint8_t		dek[CC_DEK_LEN];

	reset();
	memcpy(dek, item.dek, sizeof(dek));
	CHECK(run(CC_KMS_GENERATE, &item) == CC_KMS_OK);
	CHECK(run(CC_KMS_GENERATE, &other) == CC_KMS_OK);
	CHECK(memcmp(item.dek, dek, sizeof(dek)) != 0);
	CHECK(memcmp(item.dek, other.dek, sizeof(dek)) != 0);
	memcpy(dek, item.dek, sizeof(dek));
	CHECK(run(CC_KMS_UNWRAP, &item) == CC_KMS_OK);
	CHECK(memcmp(item.dek, dek, sizeof(dek)) == 0);
}

/* Each item of a batch has an outcome of its own. */
static void
batch_with_bad_items(void)
{
	cc_kms_value value = {.text = keys};
	cc_kms_config config = {.values = &value, .data_directory = data};
	char		error[CC_KMS_ERROR_MAX];
	cc_kms_session *session;
	cc_kms_item items[5];
	cc_kms_item *pointers[5];
	cc_kms_batch batch = {.op = CC_KMS_UNWRAP, .kms_key = "local:main", .items = pointers, .nitems = 5};

	reset();
	for (int i = 0; i < 5; i++)
	{
		items[i] = new_item();
		pointers[i] = &items[i];
		CHECK_AT(run(CC_KMS_WRAP, &items[i]) == CC_KMS_OK, i);
	}
	items[1].wrapped[4] = 7;	/* a version that is not there */
	items[2].context[0] ^= 1;
	items[3].wrapped_len = 0;

	session = cc_kms_local.open(&config, error);
	CHECK(session != NULL);
	cc_kms_local.perform(session, &batch);
	cc_kms_local.close(session);
	CHECK(items[0].outcome == CC_KMS_OK && items[4].outcome == CC_KMS_OK);
	CHECK(items[1].outcome == CC_KMS_NO_KEY && says(&items[1], "key file \"main.7.key\""));
	CHECK(items[2].outcome == CC_KMS_NOT_OPENED);
	CHECK(items[3].outcome == CC_KMS_NOT_OPENED);
	for (int i = 1; i < 4; i++)
		CHECK_AT(unit_all_zero(items[i].dek, CC_DEK_LEN), i);
}

static void
every_flipped_byte_is_rejected(void)
{
	cc_kms_item item = new_item();

	reset();
	CHECK(run(CC_KMS_WRAP, &item) == CC_KMS_OK);
	for (int i = 0; i < item.wrapped_len; i++)
	{
		cc_kms_item bad = item;
		cc_kms_outcome outcome;

		bad.wrapped[i] ^= 1;
		outcome = run(CC_KMS_UNWRAP, &bad);
		/* bytes 1 to 4 are the version: its file is missing, or it is version 0 */
		if (i >= 1 && i <= 3)
			CHECK_AT(outcome == CC_KMS_NO_KEY, i);
		else
			CHECK_AT(outcome == CC_KMS_NOT_OPENED, i);
		CHECK_AT(unit_all_zero(bad.dek, CC_DEK_LEN), i);
	}
}

static void
every_other_length_is_rejected(void)
{
	cc_kms_item item = new_item();

	reset();
	CHECK(run(CC_KMS_WRAP, &item) == CC_KMS_OK);
	for (int len = 0; len < CC_LOCALWRAP_LEN + 20; len++)
	{
		cc_kms_item bad = item;

		bad.wrapped_len = (uint16_t) len;
		CHECK_AT((run(CC_KMS_UNWRAP, &bad) == CC_KMS_OK) == (len == CC_LOCALWRAP_LEN), len);
	}
	item.wrapped_len = CC_KMS_WRAPPED_MAX + 1;
	CHECK(run(CC_KMS_UNWRAP, &item) == CC_KMS_NOT_OPENED);
}

static void
versions(void)
{
	cc_kms_item first = new_item();
	cc_kms_item second = new_item();
	cc_kms_item old;
	uint8_t		dek[CC_DEK_LEN];

	reset();
	CHECK(run(CC_KMS_WRAP, &first) == CC_KMS_OK);
	put(in(keys, "main.2.key"), KEY_2, 0400);
	put(in(keys, "main.10.key"), KEY_1, 0400);
	CHECK(run(CC_KMS_WRAP, &second) == CC_KMS_OK && second.wrapped[4] == 10);
	CHECK(run(CC_KMS_UNWRAP, &first) == CC_KMS_OK);
	unlink(in(keys, "main.10.key"));
	CHECK(run(CC_KMS_UNWRAP, &second) == CC_KMS_NO_KEY && says(&second, "key file \"main.10.key\""));

	/* re-wrapped under version 2, it no longer needs version 1 */
	memcpy(dek, first.dek, sizeof(dek));
	memset(first.dek, 0, sizeof(first.dek));
	old = first;
	CHECK(run(CC_KMS_REWRAP, &first) == CC_KMS_OK && first.wrapped[4] == 2);
	CHECK(unit_all_zero(first.dek, CC_DEK_LEN));
	unlink(in(keys, "main.key"));
	CHECK(run(CC_KMS_UNWRAP, &first) == CC_KMS_OK && memcmp(first.dek, dek, sizeof(dek)) == 0);
	CHECK(run(CC_KMS_UNWRAP, &old) == CC_KMS_NO_KEY && says(&old, "key file \"main.key\""));

	/* an item that cannot be re-wrapped stays unchanged */
	second = old;
	CHECK(run(CC_KMS_REWRAP, &old) == CC_KMS_NO_KEY);
	CHECK(memcmp(old.wrapped, second.wrapped, sizeof(old.wrapped)) == 0 &&
		  old.wrapped_len == second.wrapped_len);
}

/* Returns 0 if it fails. */
static uint64_t
wrapped_by(cc_kms_op op, cc_kms_item *item)
{
	cc_kms_value value = {.text = keys};
	cc_kms_config config = {.values = &value, .data_directory = data};
	char		error[CC_KMS_ERROR_MAX] = "";
	cc_kms_session *session = cc_kms_local.open(&config, error);
	cc_kms_batch batch = {.op = op, .items = &item, .nitems = 1};

	if (session == NULL)
		return 0;
	strcpy(batch.kms_key, "local:main");
	cc_kms_local.perform(session, &batch);
	cc_kms_local.close(session);
	return item->outcome == CC_KMS_OK ? batch.wrapped_by : 0;
}

/* Another file or another version has another number; the same file has the same. */
static void
what_wrapped_is_told_apart(void)
{
	cc_kms_item item = new_item();
	uint64_t	first;
	uint64_t	second;
	uint64_t	third;

	reset();
	first = wrapped_by(CC_KMS_WRAP, &item);
	CHECK(first != 0 && wrapped_by(CC_KMS_GENERATE, &item) == first);
	put(in(keys, "main.key"), KEY_2 "\n", 0600);
	second = wrapped_by(CC_KMS_GENERATE, &item);
	CHECK(second != 0 && second != first);
	put(in(keys, "main.2.key"), KEY_2 "\n", 0600);
	third = wrapped_by(CC_KMS_WRAP, &item);
	CHECK(third != 0 && third != second);
}

/* A newest file that is refused is an error, not a reason to wrap under an older one. */
static void
bad_newest_version(void)
{
	cc_kms_item item = new_item();
	cc_kms_item other = new_item();

	reset();
	CHECK(run(CC_KMS_WRAP, &item) == CC_KMS_OK);
	put(in(keys, "main.2.key"), "zz", 0600);
	CHECK(run(CC_KMS_WRAP, &other) == CC_KMS_CONFIG && says(&other, "main.2.key"));
	CHECK(run(CC_KMS_UNWRAP, &item) == CC_KMS_OK);
}

static void
other_names_are_not_versions(void)
{
	static const char *const names[] = {"main.1.key", "main.02.key", "main.0.key", "main.-2.key",
		"main.4294967296.key", "main.99999999999999999999.key", "main.2.key.bak", "main.2", "main2.key",
		"mainx.3.key", "xmain.4.key", "main.2 .key", "main.2x.key", "main.key.5"};
	cc_kms_item item = new_item();

	reset();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		put(in(keys, names[i]), KEY_2, 0600);
	CHECK(run(CC_KMS_WRAP, &item) == CC_KMS_OK && item.wrapped[4] == 1);
	put(in(keys, "main.4294967295.key"), KEY_2, 0600);
	CHECK(run(CC_KMS_WRAP, &item) == CC_KMS_OK && memcmp(item.wrapped + 1, "\xff\xff\xff\xff", 4) == 0);
	CHECK(run(CC_KMS_UNWRAP, &item) == CC_KMS_OK);
}

static void
key_texts(void)
{
	static const struct
	{
		const char *text;
		bool		good;
	}			cases[] = {
		{KEY_1, true}, {KEY_1 "\n", true}, {"", false}, {"\n", false}, {KEY_1 "\n\n", false},
		{KEY_1 "\r\n", false}, {KEY_1 "0", false}, {KEY_1 "00", false}, {KEY_1 KEY_1, false},
		{" " KEY_1, false}, {KEY_1 " ", false}, {"0x" KEY_1, false},
		{"g0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", false},
		{"0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", false},
	};
	cc_kms_item item = new_item();

	reset();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		cc_kms_outcome outcome;

		put(in(keys, "main.key"), cases[i].text, 0600);
		outcome = run(CC_KMS_WRAP, &item);
		CHECK_AT(outcome == (cases[i].good ? CC_KMS_OK : CC_KMS_CONFIG), i);
		CHECK_AT(cases[i].good || says(&item, "main.key"), i);
	}
}

static void
key_modes(void)
{
	cc_kms_item item = new_item();

	reset();
	for (mode_t mode = 0400; mode <= 07777; mode++)
	{
		bool		good = mode == 0600 || mode == 0400;

		/* the system refuses a file that we cannot read, unless we are root */
		if ((mode & 0400) == 0)
			continue;
		CHECK_AT(chmod(in(keys, "main.key"), mode) == 0, mode);
		CHECK_AT(run(CC_KMS_WRAP, &item) == (good ? CC_KMS_OK : CC_KMS_CONFIG), mode);
		CHECK_AT(good || says(&item, "mode"), mode);
	}
}

static void
key_of_another_owner(void)
{
	cc_kms_item item = new_item();

	reset();
	pretended_uid = (uid_t) syscall(SYS_geteuid) + 1;
	pretending = true;
	/* the folder is refused first, unless it is root's */
	CHECK(run(CC_KMS_WRAP, &item) == CC_KMS_CONFIG && says(&item, "not owned by"));
	pretending = false;
}

static void
things_that_are_not_files(void)
{
	cc_kms_item item = new_item();
	char		path[160];

	reset();
	snprintf(path, sizeof(path), "%s/main.key", keys);
	put(in(keys, "elsewhere"), KEY_1, 0600);
	CHECK(unlink(path) == 0 && symlink("elsewhere", path) == 0);
	CHECK(run(CC_KMS_WRAP, &item) == CC_KMS_CONFIG && says(&item, "symbolic link"));
	CHECK(unlink(path) == 0 && link(in(keys, "elsewhere"), path) == 0);
	CHECK(run(CC_KMS_WRAP, &item) == CC_KMS_CONFIG && says(&item, "more than one name"));
	CHECK(unlink(path) == 0 && mkfifo(path, 0600) == 0);
	CHECK(run(CC_KMS_WRAP, &item) == CC_KMS_CONFIG && says(&item, "not a regular file"));
	CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
	CHECK(run(CC_KMS_WRAP, &item) == CC_KMS_CONFIG && says(&item, "not a regular file"));
	CHECK(rmdir(path) == 0);
}

static void
missing_keys_are_never_made(void)
{
	cc_kms_item item = new_item();

	reset();
	CHECK(run_in(keys, CC_KMS_WRAP, "local:other", &item) == CC_KMS_NO_KEY);
	CHECK(says(&item, "key file \"other.key\""));
	CHECK(run_in(keys, CC_KMS_GENERATE, "local:other", &item) == CC_KMS_NO_KEY);
	CHECK(entries(keys) == 1);
	CHECK(run_in(keys, CC_KMS_WRAP, "local:../main", &item) == CC_KMS_CONFIG);
	CHECK(run_in(keys, CC_KMS_WRAP, "vault:a/b", &item) == CC_KMS_CONFIG);
}

static void
folder_modes(void)
{
	static const struct
	{
		mode_t		mode;
		bool		good;
	}			cases[] = {{0700, true}, {0750, true}, {0755, true}, {0500, true}, {0770, false},
		{0720, false}, {0702, false}, {0777, false}, {01777, false}};
	cc_kms_item item = new_item();

	reset();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		CHECK_AT(chmod(keys, cases[i].mode) == 0, i);
		CHECK_AT(run(CC_KMS_WRAP, &item) == (cases[i].good ? CC_KMS_OK : CC_KMS_CONFIG), i);
		CHECK_AT(cases[i].good || says(&item, "can write it"), i);
	}
	CHECK(chmod(keys, 0700) == 0);
}

static void
folder_places(void)
{
	cc_kms_item item = new_item();
	char		inside[160];
	char		deeper[192];

	reset();
	snprintf(inside, sizeof(inside), "%s/keys", data);
	snprintf(deeper, sizeof(deeper), "%s/deeper", inside);
	make_dir(inside, 0700);
	make_dir(deeper, 0700);
	put(in(data, "main.key"), KEY_1, 0600);
	put(in(inside, "main.key"), KEY_1, 0600);
	put(in(deeper, "main.key"), KEY_1, 0600);
	put(in(base, "main.key"), KEY_1, 0600);

	CHECK(run_in(data, CC_KMS_WRAP, "local:main", &item) == CC_KMS_CONFIG);
	CHECK(says(&item, "inside the data directory"));
	CHECK(run_in(inside, CC_KMS_WRAP, "local:main", &item) == CC_KMS_CONFIG);
	CHECK(run_in(deeper, CC_KMS_WRAP, "local:main", &item) == CC_KMS_CONFIG);
	CHECK(run_in(in(keys, "../data/keys/."), CC_KMS_WRAP, "local:main", &item) == CC_KMS_CONFIG);
	CHECK(says(&item, "inside the data directory"));
	CHECK(symlink(inside, in(base, "linked")) == 0);
	CHECK(run_in(in(base, "linked"), CC_KMS_WRAP, "local:main", &item) == CC_KMS_CONFIG);
	CHECK(says(&item, "inside the data directory"));
	CHECK(run_in(base, CC_KMS_WRAP, "local:main", &item) == CC_KMS_CONFIG);
	CHECK(says(&item, "data directory is inside it"));

	/* a name that only begins like that of the data directory is another place */
	make_dir(in(base, "data2"), 0700);
	put(in(base, "data2/main.key"), KEY_1, 0600);
	CHECK(run_in(in(base, "data2"), CC_KMS_WRAP, "local:main", &item) == CC_KMS_OK);
	CHECK(run_in(in(base, "missing"), CC_KMS_WRAP, "local:main", &item) == CC_KMS_CONFIG);
	CHECK(says(&item, "could not open the key folder of chatcrypt.local_key_dir: "));
	CHECK(run_in(in(keys, "main.key"), CC_KMS_WRAP, "local:main", &item) == CC_KMS_CONFIG);
	CHECK(run_in("keys", CC_KMS_WRAP, "local:main", &item) == CC_KMS_CONFIG);
	CHECK(says(&item, "chatcrypt.local_key_dir"));
	CHECK(run_in("", CC_KMS_WRAP, "local:main", &item) == CC_KMS_CONFIG);
}

/* What PostgreSQL's own rule for ssl_key_file allows, and what a pod's token needs. */
static cc_status
read_as(const char *path, cc_secretfile_rule rule)
{
	uint8_t		text[8192];
	size_t		len;
	cc_file_stamp stamp;
	char		error[CC_KMS_ERROR_MAX];

	return cc_secretfile_read(AT_FDCWD, path, path, rule, text, sizeof(text), &len, &stamp, error);
}

static void
credential_files(void)
{
	char		path[160];

	reset();
	snprintf(path, sizeof(path), "%s/token", keys);
	put(path, "hvs.abc\n", 0600);
	CHECK(read_as(path, CC_SECRETFILE_CREDENTIAL) == CC_OK);
	CHECK(symlink("token", in(keys, "link")) == 0);
	CHECK(read_as(in(keys, "link"), CC_SECRETFILE_CREDENTIAL) == CC_OK);
	CHECK(chmod(path, 0640) == 0 && read_as(path, CC_SECRETFILE_CREDENTIAL) == CC_ERR_FILE);
	CHECK(chmod(path, 0604) == 0 && read_as(path, CC_SECRETFILE_CREDENTIAL) == CC_ERR_FILE);
	CHECK(chmod(path, 0644) == 0 && read_as(path, CC_SECRETFILE_POD_TOKEN) == CC_OK);
	CHECK(chmod(path, 0664) == 0 && read_as(path, CC_SECRETFILE_POD_TOKEN) == CC_ERR_FILE);
	CHECK(chmod(path, 0646) == 0 && read_as(path, CC_SECRETFILE_POD_TOKEN) == CC_ERR_FILE);
	CHECK(read_as(in(keys, "none"), CC_SECRETFILE_CREDENTIAL) == CC_ERR_NO_KEY);
	CHECK(read_as(keys, CC_SECRETFILE_CREDENTIAL) == CC_ERR_FILE);

	/* a file of root, read by another user */
	pretended_uid = 12345;
	pretending = true;
	CHECK(read_as("/etc/passwd", CC_SECRETFILE_CREDENTIAL) == CC_ERR_FILE);
	CHECK(read_as("/etc/passwd", CC_SECRETFILE_POD_TOKEN) == CC_OK);
	if (getuid() == 0)
	{
		CHECK(chmod(path, 0640) == 0 && read_as(path, CC_SECRETFILE_CREDENTIAL) == CC_OK);
		CHECK(chmod(path, 0660) == 0 && read_as(path, CC_SECRETFILE_CREDENTIAL) == CC_ERR_FILE);
		CHECK(chmod(path, 0644) == 0 && read_as(path, CC_SECRETFILE_CREDENTIAL) == CC_ERR_FILE);
	}
	pretending = false;
}

static void
file_lengths_and_stamps(void)
{
	char		path[160];
	uint8_t    *text = unit_alloc(5);
	size_t		len;
	cc_file_stamp stamp;
	char		error[CC_KMS_ERROR_MAX];

	reset();
	snprintf(path, sizeof(path), "%s/token", keys);
	put(path, "12345", 0600);
	CHECK(cc_secretfile_read(AT_FDCWD, path, path, CC_SECRETFILE_CREDENTIAL, text, 5, &len, &stamp,
							 error) == CC_OK && len == 5);
	CHECK(!cc_secretfile_changed(path, &stamp));
	put(path, "12346", 0600);
	CHECK(cc_secretfile_changed(path, &stamp));
	put(path, "123456", 0600);
	CHECK(cc_secretfile_read(AT_FDCWD, path, path, CC_SECRETFILE_CREDENTIAL, text, 5, &len, &stamp,
							 error) == CC_ERR_FILE && len == 0);
	CHECK(strstr(error, "too long") != NULL && unit_all_zero(text, 5));
	unlink(path);
	CHECK(!cc_secretfile_changed(path, &stamp));
	free(text);
}

static void
error_texts(void)
{
	char		error[CC_KMS_ERROR_MAX];
	char		text[400];

	cc_kms_say(error, "%s", "a\nb\x1b[31m\xc3\xa9\x7f~");
	CHECK(strcmp(error, "a?b?[31m???~") == 0);
	memset(text, 'x', sizeof(text));
	text[CC_KMS_ERROR_MAX - 1] = '\0';
	cc_kms_say(error, "%s", text);
	CHECK(strcmp(error, text) == 0);
	text[CC_KMS_ERROR_MAX - 1] = 'x';
	text[CC_KMS_ERROR_MAX] = '\0';
	cc_kms_say(error, "%s", text);
	CHECK(strlen(error) == CC_KMS_ERROR_MAX - 1 && strcmp(error + CC_KMS_ERROR_MAX - 4, "...") == 0);
	for (int outcome = CC_KMS_OK; outcome <= CC_KMS_SPLIT; outcome++)
	{
		bool		transient = outcome >= CC_KMS_TRANSIENT && outcome <= CC_KMS_BAD_REPLY;

		CHECK_AT(strcmp(cc_kms_outcome_text(outcome), "unknown outcome") != 0, outcome);
		CHECK_AT(cc_kms_outcome_is_transient(outcome) == transient, outcome);
	}
}

static void
request_headers(void)
{
	cc_http_request request;
	char	   *value = malloc(CC_HTTP_HEADER_MAX + 1);

	CHECK(value != NULL);
	memset(&request, 0, sizeof(request));
	CHECK(cc_http_request_header(&request, "A", "b c"));
	CHECK(request.nheaders == 1 && strcmp(request.headers[0], "A: b c") == 0);
	CHECK(!cc_http_request_header(&request, "A", "b\r\nX: y"));
	CHECK(!cc_http_request_header(&request, "A\n", "b"));
	memset(value, 'v', CC_HTTP_HEADER_MAX);
	value[CC_HTTP_HEADER_MAX] = '\0';
	CHECK(!cc_http_request_header(&request, "A", value));
	value[CC_HTTP_HEADER_MAX - 4] = '\0';
	CHECK(cc_http_request_header(&request, "A", value));
	for (int i = 2; i < CC_HTTP_HEADERS; i++)
		CHECK_AT(cc_http_request_header(&request, "A", "b"), i);
	CHECK(!cc_http_request_header(&request, "A", "b"));
	cc_http_request_clear(&request);
	CHECK(request.nheaders == 0 && request.body == NULL);
	cc_http_request_clear(&request);
	free(value);
}

/* The byte 01, the version, and as many bytes as a wrapped DEK has. */
static void
wrapped_versions(void)
{
	uint8_t		wrapped[CC_LOCALWRAP_LEN + 1] = {1, 0, 0, 1, 2};

	CHECK(cc_kms_local.wrapped_version(wrapped, CC_LOCALWRAP_LEN) == 258);
	CHECK(cc_kms_local.wrapped_version(wrapped, CC_LOCALWRAP_LEN - 1) == 0);
	CHECK(cc_kms_local.wrapped_version(wrapped, CC_LOCALWRAP_LEN + 1) == 0);
	CHECK(cc_kms_local.wrapped_version(wrapped, 0) == 0);
	wrapped[0] = 2;
	CHECK(cc_kms_local.wrapped_version(wrapped, CC_LOCALWRAP_LEN) == 0);
}

int
main(void)
{
	if (mkdtemp(base) == NULL)
		return 1;
	snprintf(keys, sizeof(keys), "%s/keys", base);
	snprintf(data, sizeof(data), "%s/data", base);
	make_dir(data, 0700);

	RUN(uris);
	RUN(wrap_and_unwrap);
	RUN(generate);
	RUN(batch_with_bad_items);
	RUN(every_flipped_byte_is_rejected);
	RUN(every_other_length_is_rejected);
	RUN(versions);
	RUN(wrapped_versions);
	RUN(what_wrapped_is_told_apart);
	RUN(bad_newest_version);
	RUN(other_names_are_not_versions);
	RUN(key_texts);
	RUN(key_modes);
	RUN(key_of_another_owner);
	RUN(things_that_are_not_files);
	RUN(missing_keys_are_never_made);
	RUN(folder_modes);
	RUN(folder_places);
	RUN(credential_files);
	RUN(file_lengths_and_stamps);
	RUN(error_texts);
	RUN(request_headers);

	empty(in(data, "keys/deeper"));
	empty(in(data, "keys"));
	empty(in(base, "data2"));
	empty(data);
	empty(keys);
	empty(base);
	rmdir(base);
	return unit_done();
}
