/*
 * keyfolder.c
 *		The folder of master key files, and which folders and files are accepted.
 *
 * A master key that lies beside the data it protects is in every base backup of that
 * data, so the folder is refused where it is inside the data directory, and where the
 * data directory is inside it: one copy of the outer folder would hold both.
 */
#define _XOPEN_SOURCE 700

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kms/errtext.h"
#include "kms/local/keyfolder.h"
#include "kms/secretfile.h"

#define KEY_HEX_LEN		(2 * CC_MASTER_KEY_LEN)
#define FILE_NAME_MAX	(CC_KEY_NAME_MAX + 32)

/*
 * Is folder one of the folders on the way to path, which contains no links?  Folders are
 * compared by inode and not by name, so that a bind mount cannot hide one.
 */
static bool
lies_within(const char *path, const struct stat *folder)
{
	char		prefix[PATH_MAX];
	struct stat st;

	for (size_t len = strlen(path); len > 0; len--)
	{
		bool		whole = path[len] == '\0' || path[len] == '/';

		if (!whole || len >= sizeof(prefix))
			continue;
		memcpy(prefix, path, len);
		prefix[len] = '\0';
		if (stat(prefix, &st) == 0 && st.st_dev == folder->st_dev && st.st_ino == folder->st_ino)
			return true;
	}
	return false;
}

/* Returns NULL where the folder may be used; otherwise what is wrong with it. */
static const char *
refusal(const struct stat *st, const char *real_path, const char *data_directory)
{
	char		data_path[PATH_MAX];
	struct stat data_st;

	if (st->st_uid != geteuid() && st->st_uid != 0)
		return "it is not owned by the user that the server runs as, nor by root";
	if (st->st_mode & 022)
		return "group or others can write it";
	if (data_directory == NULL || *data_directory == '\0')
		return NULL;
	if (realpath(data_directory, data_path) == NULL || stat(data_path, &data_st) != 0)
		return "the location of the data directory could not be determined";
	if (lies_within(real_path, &data_st))
		return "it is inside the data directory, and so in every backup of it";
	if (lies_within(data_path, st))
		return "the data directory is inside it, and a copy of it would hold both data and key";
	return NULL;
}

cc_kms_outcome
cc_keyfolder_open(cc_keyfolder *folder, const char *path, const char *data_directory,
				  char error[CC_KMS_ERROR_MAX])
{
	char		real_path[PATH_MAX];
	struct stat st;
	const char *wrong;

	folder->fd = -1;
	if (realpath(path, real_path) != NULL)
		folder->fd = open(real_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (folder->fd < 0)
	{
		cc_kms_say(error, "could not open the key folder of chatcrypt.local_key_dir: %s",
				   strerror(errno));
		return CC_KMS_CONFIG;
	}
	if (fstat(folder->fd, &st) != 0)
		wrong = strerror(errno);
	else
		wrong = refusal(&st, real_path, data_directory);
	if (wrong == NULL)
		return CC_KMS_OK;
	cc_kms_say(error, "the key folder of chatcrypt.local_key_dir is refused: %s", wrong);
	cc_keyfolder_close(folder);
	return CC_KMS_CONFIG;
}

void
cc_keyfolder_close(cc_keyfolder *folder)
{
	if (folder->fd >= 0)
		close(folder->fd);
	folder->fd = -1;
}

/*
 * Returns the version that a file name stands for; 0 where it is not a file of this key.
 * A version has exactly one file name: no "NAME.1.key", no leading zeros.
 */
static uint32_t
version_of(const char *file, const char *name)
{
	size_t		name_len = strlen(name);
	uint64_t	version = 0;

	if (strncmp(file, name, name_len) != 0 || file[name_len] != '.')
		return 0;
	file += name_len + 1;
	if (strcmp(file, "key") == 0)
		return 1;
	if (*file < '1' || *file > '9')
		return 0;
	for (; *file >= '0' && *file <= '9'; file++)
	{
		version = version * 10 + (uint64_t) (*file - '0');
		if (version > UINT32_MAX)
			return 0;
	}
	return strcmp(file, ".key") == 0 && version > 1 ? (uint32_t) version : 0;
}

/* Opens a separate stream on the folder, so that closing it leaves the folder open. */
static DIR *
list_folder(const cc_keyfolder *folder)
{
	int			fd = openat(folder->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR		   *dir;

	if (fd < 0)
		return NULL;
	dir = fdopendir(fd);
	if (dir == NULL)
		close(fd);
	return dir;
}

cc_kms_outcome
cc_keyfolder_newest(const cc_keyfolder *folder, const char *name, uint32_t *version,
					char error[CC_KMS_ERROR_MAX])
{
	DIR		   *dir = list_folder(folder);
	int			failure = dir == NULL ? errno : 0;

	*version = 0;
	while (dir != NULL)
	{
		struct dirent *entry;
		uint32_t	found;

		errno = 0;
		entry = readdir(dir);
		if (entry == NULL)
		{
			failure = errno;
			break;
		}
		found = version_of(entry->d_name, name);
		if (found > *version)
			*version = found;
	}
	if (dir != NULL)
		closedir(dir);

	if (failure != 0)
	{
		cc_kms_say(error, "could not list the key folder of chatcrypt.local_key_dir: %s",
				   strerror(failure));
		return CC_KMS_CONFIG;
	}
	if (*version == 0)
	{
		cc_kms_say(error, "there is no key file \"%s.key\"", name);
		return CC_KMS_NO_KEY;
	}
	return CC_KMS_OK;
}

/* Accepts hex digits with at most one line end after them. */
static bool
parse_key(const uint8_t *text, size_t len, uint8_t master[CC_MASTER_KEY_LEN])
{
	if (len == KEY_HEX_LEN + 1 && text[KEY_HEX_LEN] == '\n')
		len--;
	return len == KEY_HEX_LEN &&
		cc_hex_decode((const char *) text, len, master, CC_MASTER_KEY_LEN) == CC_OK;
}

cc_kms_outcome
cc_keyfolder_read(const cc_keyfolder *folder, const char *name, uint32_t version,
				  uint8_t master[CC_MASTER_KEY_LEN], cc_file_stamp *stamp,
				  char error[CC_KMS_ERROR_MAX])
{
	char		file[FILE_NAME_MAX];
	char		shown[FILE_NAME_MAX + 16];
	uint8_t		text[KEY_HEX_LEN + 1];	/* secret */
	size_t		len;
	cc_status	status;
	bool		parsed;

	if (version == 1)
		snprintf(file, sizeof(file), "%s.key", name);
	else
		snprintf(file, sizeof(file), "%s.%u.key", name, (unsigned) version);
	snprintf(shown, sizeof(shown), "key file \"%s\"", file);

	status = cc_secretfile_read(folder->fd, file, shown, CC_SECRETFILE_OWN_KEY,
								text, sizeof(text), &len, stamp, error);
	if (status != CC_OK)
	{
		cc_wipe(master, CC_MASTER_KEY_LEN);
		return status == CC_ERR_NO_KEY ? CC_KMS_NO_KEY : CC_KMS_CONFIG;
	}
	parsed = parse_key(text, len, master);
	cc_wipe(text, sizeof(text));
	if (parsed)
		return CC_KMS_OK;
	cc_wipe(master, CC_MASTER_KEY_LEN);
	cc_kms_say(error, "%s is refused: it does not hold exactly 64 hex digits", shown);
	return CC_KMS_CONFIG;
}
