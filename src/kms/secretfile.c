/*
 * secretfile.c
 *		Bounded reads of files that hold credentials or keys.
 */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kms/errtext.h"
#include "kms/secretfile.h"

static void
stamp_of(const struct stat *st, cc_file_stamp *stamp)
{
	memset(stamp, 0, sizeof(*stamp));
	stamp->mtime_ns = (int64_t) st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	stamp->ctime_ns = (int64_t) st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec;
	stamp->size = st->st_size;
	stamp->inode = st->st_ino;
	stamp->device = st->st_dev;
}

/* Returns NULL where the rule allows the file; otherwise what is wrong with it. */
static const char *
refusal(const struct stat *st, cc_secretfile_rule rule)
{
	bool		own = st->st_uid == geteuid();
	mode_t		forbidden;

	if (!S_ISREG(st->st_mode))
		return "it is not a regular file";
	if (rule == CC_SECRETFILE_OWN_KEY)
	{
		if (!own)
			return "it is not owned by the user that the server runs as";
		if (st->st_mode & 07177)
			return "its mode is not 0600 or 0400";
		/* another name of it could be in the data directory, and so in every backup */
		if (st->st_nlink != 1)
			return "it has more than one name (hard links)";
		return NULL;
	}

	if (!own && st->st_uid != 0)
		return "it is not owned by the user that the server runs as, nor by root";
	forbidden = own ? 077 : 037;
	if (rule == CC_SECRETFILE_POD_TOKEN)
		forbidden = 022;
	if ((st->st_mode & forbidden) == 0)
		return NULL;
	if (rule == CC_SECRETFILE_POD_TOKEN)
		return "group or others can write it";
	return own ? "group or others have access to it; its mode must be 0600 or less"
		: "others have access to it, or the group more than reading; its mode must be 0640 or less";
}

/* Opens without waiting (a pipe would block), and without acquiring a controlling terminal. */
static int
open_secret(int dirfd, const char *path, cc_secretfile_rule rule)
{
	int			flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int			fd;

	if (rule == CC_SECRETFILE_OWN_KEY)
		flags |= O_NOFOLLOW;
	do
		fd = openat(dirfd, path, flags);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* Reads to the end.  False, with errno, where that fails; EFBIG for more than capacity bytes. */
static bool
read_all(int fd, uint8_t *buffer, size_t capacity, size_t *len)
{
	uint8_t		beyond;

	*len = 0;
	for (;;)
	{
		bool		full = *len == capacity;
		ssize_t		n = read(fd, full ? &beyond : buffer + *len, full ? 1 : capacity - *len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		if (n == 0)
			return true;
		if (full)
		{
			cc_wipe(&beyond, sizeof(beyond));
			errno = EFBIG;
			return false;
		}
		*len += (size_t) n;
	}
}

cc_status
cc_secretfile_read(int dirfd, const char *path, const char *shown, cc_secretfile_rule rule,
				   uint8_t *buffer, size_t capacity, size_t *len,
				   cc_file_stamp *stamp, char error[CC_KMS_ERROR_MAX])
{
	struct stat st;
	const char *wrong = NULL;
	int			fd = open_secret(dirfd, path, rule);

	*len = 0;
	if (fd < 0)
	{
		bool		missing = errno == ENOENT || errno == ENOTDIR;

		if (errno == ELOOP && rule == CC_SECRETFILE_OWN_KEY)
			cc_kms_say(error, "%s is refused: it is a symbolic link", shown);
		else
			cc_kms_say(error, "could not open %s: %s", shown, strerror(errno));
		return missing ? CC_ERR_NO_KEY : CC_ERR_FILE;
	}

	if (fstat(fd, &st) != 0)
		wrong = strerror(errno);
	else
		wrong = refusal(&st, rule);
	if (wrong == NULL && !read_all(fd, buffer, capacity, len))
		wrong = errno == EFBIG ? "it is too long" : strerror(errno);
	if (wrong != NULL)
	{
		cc_kms_say(error, "%s is refused: %s", shown, wrong);
		cc_wipe(buffer, capacity);
		*len = 0;
		close(fd);
		return CC_ERR_FILE;
	}
	stamp_of(&st, stamp);
	close(fd);
	return CC_OK;
}

bool
cc_secretfile_changed(const char *path, const cc_file_stamp *stamp)
{
	struct stat st;
	cc_file_stamp now;

	if (stat(path, &st) != 0)
		return false;
	stamp_of(&st, &now);
	return memcmp(&now, stamp, sizeof(now)) != 0;
}
