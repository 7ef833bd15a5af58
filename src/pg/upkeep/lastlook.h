/*
 * lastlook.h
 *		Searches all places for keys that are named by any row version which a
 *		transaction can read, or could have read since a given moment.
 *
 * The moment is that of a snapshot, which has been held since.  While it is held, no
 * row version that was visible to anybody after it leaves its table, neither by pruning
 * nor by VACUUM.  A command that replaces a table's file is noticed by the new file.
 *
 * Not here: why that proves anything (purgekeys.c).
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

/* Returns the present files of all places, in the current memory context. */
extern List *chatcrypt_lastlook_files(void);

/*
 * Marks the keys that were found; changes the order of the array.  Returns false, in
 * which case nothing is known, where a place of that list now has another file, or is
 * no longer a place.
 */
extern bool chatcrypt_lastlook_run(List *files, ChatcryptSoughtKey **keys, int nkeys,
								   Snapshot since);

#endif
