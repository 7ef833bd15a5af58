/*
 * keyfolder.h
 *		The folder of master key files: NAME.key is version 1 of the key NAME,
 *		NAME.2.key version 2, and so on.  It is checked each time it is opened, since
 *		a folder can be moved, or its mode changed, while the server runs.
 *
 * Nothing here ever creates or changes a file.
 */
#ifndef CC_KEYFOLDER_H
#define CC_KEYFOLDER_H

#include "kms/provider.h"
#include "kms/secretfile.h"

#define CC_KEY_NAME_MAX		63
#define CC_MASTER_KEY_LEN	32

typedef struct cc_keyfolder
{
	int			fd;				/* -1 while not open */
} cc_keyfolder;

/*
 * Refuses a folder that is not owned by the server's user or root, that group or others
 * can write, or that contains the data directory or is inside it.  The caller closes it.
 */
extern cc_kms_outcome cc_keyfolder_open(cc_keyfolder *folder, const char *path,
										const char *data_directory, char error[CC_KMS_ERROR_MAX]);
extern void cc_keyfolder_close(cc_keyfolder *folder);

/* Finds the highest version of a key that has a file. */
extern cc_kms_outcome cc_keyfolder_newest(const cc_keyfolder *folder, const char *name,
										  uint32_t *version, char error[CC_KMS_ERROR_MAX]);

/* The caller wipes master; it is wiped here on failure.  stamp is set to the file's stamp. */
extern cc_kms_outcome cc_keyfolder_read(const cc_keyfolder *folder, const char *name,
										uint32_t version, uint8_t master[CC_MASTER_KEY_LEN],
										cc_file_stamp *stamp, char error[CC_KMS_ERROR_MAX]);

#endif
