/*
 * registry.h
 *		Where envelopes are kept, called places: our own tables of messages and of files, and
 *		the columns of other tables that were registered by chatcrypt.register_envelopes().
 *		Re-encryption, purging and verification go through all of them.
 *
 * A registered table or column that is gone is an error, because a purge that did not
 * look everywhere would destroy keys that are needed.
 */
#ifndef CHATCRYPT_REGISTRY_H
#define CHATCRYPT_REGISTRY_H

#include "nodes/pg_list.h"
#include "storage/lockdefs.h"

#include "core/bytes.h"
#include "pg/upkeep/place.h"

/*
 * Returns all places, each locked for the rest of the transaction; raises where the rows of
 * one are kept elsewhere (ownrows.h).
 */
extern List *chatcrypt_registry_places(LOCKMODE lockmode);

/* Returns the same place as it is now; raises where it is no longer a place. */
extern ChatcryptPlace *chatcrypt_registry_place(const ChatcryptPlace *known, LOCKMODE lockmode);

/*
 * The chat's id as a value of the place's chat column.  False where the column is a number
 * and the id stands for none, so that the place holds nothing of the chat.
 */
extern bool chatcrypt_registry_chat_value(const ChatcryptPlace *place,
										  const uint8 chat_id[CC_ID_LEN], Datum *value);
extern Oid	chatcrypt_registry_id_type(Oid column_type);

/* The reverse: reads an id that was selected as chatcrypt_registry_id_type() says. */
extern void chatcrypt_registry_id(Oid column_type, Datum value, uint8 id[CC_ID_LEN]);

#endif
