/*
 * secretfile.h
 *		Bounded reads of files that hold credentials or keys, refused where others
 *		could have read or written them.
 *
 * What is checked is the opened file, not its name, so that nothing can change
 * in between.
 */
#ifndef CC_SECRETFILE_H
#define CC_SECRETFILE_H

#include "kms/provider.h"

typedef enum cc_secretfile_rule
{
	/* A master key: owned by the server's user, 0600 or 0400, with one name, and not a link. */
	CC_SECRETFILE_OWN_KEY,

	/*
	 * A credential, by PostgreSQL's own rule for ssl_key_file: owned by the server's user
	 * with no access for group and others, or owned by root and at most readable by the
	 * group.  Links are followed, because that is how secrets are mounted in Kubernetes.
	 */
	CC_SECRETFILE_CREDENTIAL,

	/*
	 * The service account token of a pod: like a credential, but others may read
	 * it, because the kubelet makes it 0644 in the pod's own mount.
	 */
	CC_SECRETFILE_POD_TOKEN
} cc_secretfile_rule;

/* Identifies the file that was read, to find out whether it has changed since. */
typedef struct cc_file_stamp
{
	int64_t		mtime_ns;
	int64_t		ctime_ns;
	int64_t		size;
	uint64_t	inode;
	uint64_t	device;
} cc_file_stamp;

/*
 * Reads all of a file into buffer; CC_ERR_NO_KEY where there is no such file, CC_ERR_FILE
 * where it is refused or longer than capacity, both with an error that names it.
 * path is relative to the open folder dirfd (AT_FDCWD for none).  shown is how errors
 * name the file, without its path, because an application may get to see them.  The
 * caller wipes buffer; it is wiped here on failure.
 */
extern CC_MUST_CHECK cc_status cc_secretfile_read(int dirfd, const char *path, const char *shown,
												  cc_secretfile_rule rule,
												  uint8_t *buffer, size_t capacity, size_t *len,
												  cc_file_stamp *stamp,
												  char error[CC_KMS_ERROR_MAX]);

/*
 * True where path is now a file with another stamp.  A file that is gone counts as
 * unchanged: what was read from it holds until there is another file.
 */
extern bool cc_secretfile_changed(const char *path, const cc_file_stamp *stamp);

#endif
