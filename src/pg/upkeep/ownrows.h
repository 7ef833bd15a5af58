/*
 * ownrows.h
 *		Makes sure that a table holds its rows itself.
 *
 * Re-encryption finds rows by ctid, verification goes by blocks, and a purge searches the
 * table's file: all of these need the rows in this very table.  An extension with a planner
 * of its own may keep them elsewhere, on shards or compressed, and a rule may replace an
 * UPDATE by something else.
 */
#ifndef CHATCRYPT_OWNROWS_H
#define CHATCRYPT_OWNROWS_H

#include "pg/upkeep/place.h"

/* Raises where a statement that reads, or with to_write also one that writes, goes elsewhere. */
extern void chatcrypt_ownrows_require(const ChatcryptPlace *place, bool to_write);

#endif
