/*
 * relations.h
 *		Where the extension's own tables, indexes and functions are in this database, and
 *		whether rows of the table of keys have changed.
 */
#ifndef CHATCRYPT_RELATIONS_H
#define CHATCRYPT_RELATIONS_H

#include "utils/relcache.h"

/* Those that are needed for each message. */
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

/* Always at the same place, and good as of now.  Raises where the extension is not there. */
extern const ChatcryptRelations *chatcrypt_relations(void);

/* Opens one of these for reading. */
extern Relation chatcrypt_relations_open(const Oid *known);

/*
 * Moves whenever a row of chatcrypt.dek that may have been remembered is changed or
 * removed, in the same session or, once it is committed, in any.  The caller has
 * accepted invalidation messages.
 */
extern uint64 chatcrypt_relations_dek_generation(void);

/* Who owns the extension's tables: the user that its own writes run as. */
extern Oid	chatcrypt_relations_owner(void);
extern Oid	chatcrypt_relations_find(const char *name);

/* Raises for nothing: databases without the extension come here too. */
extern bool chatcrypt_relations_is_named(Oid relation, const char *name);
extern Oid	chatcrypt_relations_may_see(void);
extern Oid	chatcrypt_relations_require_new_envelope(void);

/* A function of ours that takes one argument of this type. */
extern Oid	chatcrypt_relations_function(const char *schema, const char *name, Oid argument);

#endif
