/*
 * failedopens.h
 *		Counts messages and files that did not open, by reason, for chatcrypt.health.  It holds
 *		no id and no key.
 *
 * Lock contract: none.  A database claims its row with one atomic exchange, and keeps
 * it until the server stops; counters only ever grow.
 */
#ifndef CHATCRYPT_FAILEDOPENS_H
#define CHATCRYPT_FAILEDOPENS_H

#include "datatype/timestamp.h"

#include "core/status.h"

typedef enum ChatcryptFailedOpen
{
	CHATCRYPT_FAILED_OPEN_DAMAGED,	/* wrong key, wrong additional data, or no envelope at all */
	CHATCRYPT_FAILED_OPEN_NO_KEY,	/* the chat has no such key, and no trace of one */
	CHATCRYPT_FAILED_OPEN_DESTROYED,	/* the key was destroyed on purpose */
	CHATCRYPT_FAILED_OPEN_KMS	/* the KMS did not give the key */
} ChatcryptFailedOpen;

#define CHATCRYPT_FAILED_OPEN_REASONS	4

typedef struct ChatcryptFailedOpens
{
	uint64		counts[CHATCRYPT_FAILED_OPEN_REASONS];
	TimestampTz last_at;		/* 0 for never */
} ChatcryptFailedOpens;

extern void chatcrypt_failedopens_note(ChatcryptFailedOpen reason);

/*
 * Counts a failure as damage where the status says that the bytes are at fault, and nothing
 * otherwise.
 */
extern void chatcrypt_failedopens_note_bytes(cc_status status);

/* The counts of this database since the server started. */
extern void chatcrypt_failedopens_read(ChatcryptFailedOpens *counts);

/* Postmaster start-up: from shmem_request_hook and shmem_startup_hook. */
extern void chatcrypt_failedopens_request(void);
extern void chatcrypt_failedopens_startup(void);

#endif
