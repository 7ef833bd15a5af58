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
	/* A master key of ours: our own file, 0600 or 0400, one name, not a link. */
	CC_SECRETFILE_OWN_KEY,

	/*
	 * A credential, by PostgreSQL's own rule for ssl_key_file: ours and nothing
	 * for group and others, or root's and at most readable by the group.  Links
	 * are followed, because that is how secrets are mounted in Kubernetes.
	 */
	CC_SECRETFILE_CREDENTIAL,

	/*
	 * The service account token of a pod: as a credential, but others may read
	 * it, because the kubelet makes it 0644 in the pod's own mount.
	 */
	CC_SECRETFILE_POD_TOKEN
} cc_secretfile_rule;

/* Tells whether a file is still the one that was read. */
typedef struct cc_file_stamp
{
	int64_t		mtime_ns;
	int64_t		ctime_ns;
	int64_t		size;
	uint64_t	inode;
	uint64_t	device;
} cc_file_stamp;

/*
 * Reads all of a file into buffer; CC_ERR_NO_KEY where there is none, CC_ERR_FILE
 * where it is refused or longer than capacity, both with an error that names it.
 * path is relative to the open folder dirfd (AT_FDCWD for none), shown is how
 * errors name it, without its path: an application may get to see them.  The caller wipes buffer; it is wiped here on failure.
 */
extern CC_MUST_CHECK cc_status cc_secretfile_read(int dirfd, const char *path, const char *shown,
												  cc_secretfile_rule rule,
												  uint8_t *buffer, size_t capacity, size_t *len,
												  cc_file_stamp *stamp,
												  char error[CC_KMS_ERROR_MAX]);

/*
 * True where path is now a file with another stamp.  One that is gone has not
 * changed: what was read of it holds until there is something else.
 */
extern bool cc_secretfile_changed(const char *path, const cc_file_stamp *stamp);

#endif
