/*
 * protectedplace.h
 *		A protected column as a place of envelopes.
 */
#ifndef CHATCRYPT_PROTECTEDPLACE_H
#define CHATCRYPT_PROTECTEDPLACE_H

#include "utils/rel.h"

#include "pg/upkeep/place.h"

/* Whether the table has a column that is protected under this registration; then fills the place. */
extern bool chatcrypt_protectedplace_fill(ChatcryptPlace *place, Relation table,
										  const pg_uuid_t *registry_id);

/* Whether the table has such a column. */
extern bool chatcrypt_protectedplace_has_label(Oid relation, const pg_uuid_t *registry_id);

/* Whether the additional data is that of a protected column of this registration. */
extern bool chatcrypt_protectedplace_is_aad(const pg_uuid_t *registry_id, const ChatcryptAad *aad);

/* The envelope in a value of a slot, as it is stored; NULL for a value that is none. */
extern bytea *chatcrypt_protectedplace_envelope(Datum value);

#endif
