/*
 * protectswitch.h
 *		Makes a table a protected one, or an ordinary one again.  Only the catalog changes: no row
 *		is touched.
 */
#ifndef CHATCRYPT_PROTECTSWITCH_H
#define CHATCRYPT_PROTECTSWITCH_H

#include "access/attnum.h"
#include "storage/lockdefs.h"

#include "pg/protect/protected.h"

/*
 * Locks a table.  Each attempt waits for at most chatcrypt.protect_lock_timeout, because sessions
 * behind it in the lock queue wait too.  Raises an error after a number of attempts.
 */
extern void chatcrypt_protectswitch_lock(Oid relation, LOCKMODE lockmode);

/* Requires AccessExclusiveLock.  Once it commits, all new values of the column are sealed. */
extern void chatcrypt_protectswitch_protect(Oid relation, AttrNumber column, AttrNumber chat,
											AttrNumber message, const pg_uuid_t *registry_id);

/* Changes the state in a column's label. */
extern void chatcrypt_protectswitch_state(Oid relation, const ChatcryptColumn *column,
										  ChatcryptColumnState state);

/* Removes the column's missing value, once no row needs it: it is stored in plaintext. */
extern void chatcrypt_protectswitch_forget_missing(Oid relation, AttrNumber column);

/* Makes a column that holds only plain values an ordinary one; requires AccessExclusiveLock. */
extern void chatcrypt_protectswitch_unprotect(Oid relation, const ChatcryptColumn *column);

#endif
