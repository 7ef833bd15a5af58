/*
 * relations.h
 *		The OIDs of the extension's own tables, indexes and functions in this database, and
 *		whether rows of chatcrypt.dek have changed.
 */
#ifndef CHATCRYPT_RELATIONS_H
#define CHATCRYPT_RELATIONS_H

#include "utils/relcache.h"

/* The tables and indexes that are needed for each message. */
typedef struct ChatcryptRelations
{
	Oid			dek;
	Oid			dek_by_version;
	Oid			dek_active;
	Oid			chat;
	Oid			chat_pkey;
	Oid			participant;
	Oid			participant_pkey;
	Oid			deployment;
} ChatcryptRelations;

/*
 * The result is always at the same address, and up to date at the call.  Raises if the
 * extension is not installed in this database.
 */
extern const ChatcryptRelations *chatcrypt_relations(void);

/* Opens one of the relations above for reading; known points to its member. */
extern Relation chatcrypt_relations_open(const Oid *known);

/*
 * A number that moves whenever a row of chatcrypt.dek is changed or deleted, by the backend
 * itself or by a committed transaction of another one.  The caller has accepted invalidation
 * messages.
 */
extern uint64 chatcrypt_relations_dek_generation(void);

/* The owner of the extension's tables, as which the extension writes to them. */
extern Oid	chatcrypt_relations_owner(void);
extern Oid	chatcrypt_relations_find(const char *name);

/* Is it the relation of that name in schema chatcrypt?  Works without the extension too. */
extern bool chatcrypt_relations_is_named(Oid relation, const char *name);
extern Oid	chatcrypt_relations_may_see(void);
extern Oid	chatcrypt_relations_require_new_envelope(void);

/* A function of the extension that takes one argument of this type. */
extern Oid	chatcrypt_relations_function(const char *schema, const char *name, Oid argument);

#endif
