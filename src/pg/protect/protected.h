/*
 * protected.h
 *		What is known of a table of the access method chatcrypt: its labels, read.
 *
 * Security labels of the provider chatcrypt say which columns are protected and which ones hold
 * the ids:
 *
 *		chat
 *		message
 *		sealed UUID [mixed | opening] [length N] [storage X]
 *
 * UUID is the column's registration in chatcrypt.envelope_column.  A column that is mixed also
 * holds values that are not sealed yet; one that is opening is on its way back, and what is
 * written to it stays plain.  N is what varchar(N) said, and X the storage that the column had.
 *
 * A relation keeps its description with its cache entry, from which invalidation takes it; a
 * slot therefore has a copy of its own, and compares numbers to see whether that is the latest.
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
	int32		length;			/* of varchar(length), or 0 */
	char		storage;		/* that the column had, or 0 */
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
	uint64		edition;		/* another one for each description that was ever read */
	bool		usable;			/* there are columns, and both ids */
	AttrNumber	chat;
	AttrNumber	message;
	Oid			chat_type;
	Oid			message_type;
	int			ncolumns;
	ChatcryptColumn columns[FLEXIBLE_ARRAY_MEMBER];
} ChatcryptProtected;

extern const ChatcryptProtected *chatcrypt_protected_read(Relation relation);

/*
 * Of a relation whose access method is ours; valid until invalidations are accepted.  It reads
 * the catalog where it has to: not to be called under a buffer's lock.
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

/* The protected column of this number; NULL for none. */
extern const ChatcryptColumn *chatcrypt_protected_column(const ChatcryptProtected *table,
														 AttrNumber number);

/* A copy, in the current memory context; NULL for a relation of another access method. */
extern ChatcryptProtected *chatcrypt_protected_by_oid(Oid relation);

/* Whether the relation's access method is ours. */
extern bool chatcrypt_protected_is_ours(Oid relation);
extern Oid	chatcrypt_protected_am(bool missing_ok);

/* The id in a column of uuid, bigint, integer or smallint. */
extern bool chatcrypt_protected_is_id_type(Oid type);
extern void chatcrypt_protected_id(Datum value, Oid type, uint8 id[CC_ID_LEN]);

/* Labels as text.  False for what is none. */
extern bool chatcrypt_protected_parse(const char *label, ChatcryptColumnLabel *parsed);
extern char *chatcrypt_protected_format(const ChatcryptColumnLabel *label);

#endif
