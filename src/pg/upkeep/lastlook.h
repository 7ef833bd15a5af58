/*
 * lastlook.h
 *		Looks through all places for keys that any version of a row names which some
 *		transaction may read, or may have read since a moment.
 *
 * The moment is a snapshot, and that snapshot has been held since.  While it is, no
 * version of a row that was visible to anybody after it leaves its table: not by
 * pruning, not by VACUUM.  What replaces a table's file is told by the file.
 *
 * Not here: why that proves anything (purge.c).
 */
#ifndef CHATCRYPT_LASTLOOK_H
#define CHATCRYPT_LASTLOOK_H

#include "nodes/pg_list.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "pg/cache/keycache.h"

typedef struct ChatcryptSoughtKey
{
	pg_uuid_t	chat_id;
	ChatcryptPurpose purpose;
	uint32		version;
	bool		found;
} ChatcryptSoughtKey;

/* The files that all places have now, in the current memory context. */
extern List *chatcrypt_lastlook_files(void);

/*
 * Marks the keys that were found; changes the order of the array.  False, and then
 * nothing is known, where a place of that list has another file now, or is none any
 * more.
 */
extern bool chatcrypt_lastlook_run(List *files, ChatcryptSoughtKey **keys, int nkeys,
								   Snapshot since);

#endif
