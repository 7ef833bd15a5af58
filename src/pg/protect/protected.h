/*
 * protected.h
 *		The description of a table of the access method chatcrypt, as parsed from its labels.
 *
 * Security labels of the provider chatcrypt say which columns are protected, and which two columns
 * hold the ids of the chat and the message:
 *
 *		chat
 *		message
 *		sealed UUID [mixed | opening] [length N] [storage X]
 *
 * UUID is the column's registration in chatcrypt.envelope_column.  A column that is mixed also
 * holds values that are not sealed yet.  A column that is opening is being unprotected: new values
 * are stored plain, and old ones may still be sealed.  N is the limit of varchar(N), and X the
 * storage that the column had before it was protected.
 *
 * A description is kept in the relation's cache entry (rd_amcache), and is freed by an
 * invalidation.  A slot therefore has its own copy, and compares editions to see whether that copy
 * is the latest.
 */
#ifndef CHATCRYPT_PROTECTED_H
#define CHATCRYPT_PROTECTED_H

#include "access/attnum.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "core/bytes.h"
#include "pg/protect/sealedform.h"

#define CHATCRYPT_PROTECTED_PROVIDER	"chatcrypt"
#define CHATCRYPT_PROTECTED_AM			"chatcrypt"

typedef enum ChatcryptColumnState
{
	CHATCRYPT_COLUMN_SEALED,
	CHATCRYPT_COLUMN_MIXED,
	CHATCRYPT_COLUMN_OPENING
} ChatcryptColumnState;

/* What the label of a protected column says. */
typedef struct ChatcryptColumnLabel
{
	pg_uuid_t	registry_id;
	ChatcryptColumnState state;
	int32		length;			/* the limit of varchar(length); 0 for none */
	char		storage;		/* the column's attstorage before; 0 if unknown */
} ChatcryptColumnLabel;

typedef struct ChatcryptColumn
{
	AttrNumber	number;
	ChatcryptForm form;
	ChatcryptColumnLabel label;
	uint8		aad[CHATCRYPT_COLUMN_AAD_LEN];
} ChatcryptColumn;

typedef struct ChatcryptProtected
{
	uint64		edition;		/* different for each description that is read */
	bool		usable;			/* it has protected columns, and both id columns */
	AttrNumber	chat;
	AttrNumber	message;
	Oid			chat_type;
	Oid			message_type;
	int			ncolumns;
	ChatcryptColumn columns[FLEXIBLE_ARRAY_MEMBER];
} ChatcryptProtected;

/* Reads the description from the catalog, and keeps it in the relation's cache entry. */
extern const ChatcryptProtected *chatcrypt_protected_read(Relation relation);

/*
 * The description of a relation whose access method is ours; valid until invalidations are
 * accepted.  It may read the catalog, so it must not be called while a buffer is locked.
 */
static inline const ChatcryptProtected *
chatcrypt_protected(Relation relation)
{
	return likely(relation->rd_amcache != NULL) ?
		(const ChatcryptProtected *) relation->rd_amcache : chatcrypt_protected_read(relation);
}

static inline Size
chatcrypt_protected_size(const ChatcryptProtected *table)
{
	return offsetof(ChatcryptProtected, columns) + sizeof(ChatcryptColumn) * table->ncolumns;
}

/* The protected column with this number; NULL for none. */
extern const ChatcryptColumn *chatcrypt_protected_column(const ChatcryptProtected *table,
														 AttrNumber number);

/* A copy of the description, in the current memory context; NULL for another access method. */
extern ChatcryptProtected *chatcrypt_protected_by_oid(Oid relation);

/* Whether the relation's access method is ours. */
extern bool chatcrypt_protected_is_ours(Oid relation);
extern Oid	chatcrypt_protected_am(bool missing_ok);

/* An id column is of type uuid, bigint, integer or smallint; the second reads its id. */
extern bool chatcrypt_protected_is_id_type(Oid type);
extern void chatcrypt_protected_id(Datum value, Oid type, uint8 id[CC_ID_LEN]);

/* Labels as text.  Parsing returns false for a text that is not the label of a protected column. */
extern bool chatcrypt_protected_parse(const char *label, ChatcryptColumnLabel *parsed);
extern char *chatcrypt_protected_format(const ChatcryptColumnLabel *label);

#endif
