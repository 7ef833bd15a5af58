/*
 * ownrows.h
 *		Tables that hold their rows themselves.
 *
 * Re-encryption finds rows by ctid, verification goes by blocks, and a purge looks through
 * the table's file: all of that is about rows of this very table.  A planner that is not
 * PostgreSQL's own may keep them elsewhere, on shards or compressed, and a rule may put
 * something else in the place of an UPDATE.
 */
#ifndef CHATCRYPT_OWNROWS_H
#define CHATCRYPT_OWNROWS_H

#include "pg/upkeep/place.h"

/* Raises where a statement would go elsewhere: one that reads, or also one that writes. */
extern void chatcrypt_ownrows_require(const ChatcryptPlace *place, bool to_write);

#endif
