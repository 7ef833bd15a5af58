/*
 * protectswitch.h
 *		Turns a table into a protected one and back, in the catalog alone: no row is touched.
 */
#ifndef CHATCRYPT_PROTECTSWITCH_H
#define CHATCRYPT_PROTECTSWITCH_H

#include "access/attnum.h"
#include "storage/lockdefs.h"

#include "pg/protect/protected.h"

/*
 * Locks a table, waiting for no longer at a time than chatcrypt.protect_lock_timeout, because
 * whoever comes after us in the queue waits too.  Raises after some tries.
 */
extern void chatcrypt_protectswitch_lock(Oid relation, LOCKMODE lockmode);

/* Under AccessExclusiveLock.  From the commit on all new values of the column are sealed. */
extern void chatcrypt_protectswitch_protect(Oid relation, AttrNumber column, AttrNumber chat,
											AttrNumber message, const pg_uuid_t *registry_id);

/* Changes the state in a column's label. */
extern void chatcrypt_protectswitch_state(Oid relation, const ChatcryptColumn *column,
										  ChatcryptColumnState state);

/* No row has the column's default from the time before it was rewritten: forgets that value. */
extern void chatcrypt_protectswitch_forget_missing(Oid relation, AttrNumber column);

/* Under AccessExclusiveLock: the column holds plain values alone, and is an ordinary one again. */
extern void chatcrypt_protectswitch_unprotect(Oid relation, const ChatcryptColumn *column);

#endif
