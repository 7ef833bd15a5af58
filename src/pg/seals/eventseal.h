/*
 * eventseal.h
 *		The bytes of the event chain: what of an event goes into its digest, and what of a
 *		seal into its MAC.  Sealing (eventseal.c) and verification (eventverify.c) share it.
 *		docs/format.md has the format.
 */
#ifndef CHATCRYPT_EVENTSEAL_H
#define CHATCRYPT_EVENTSEAL_H

#include "executor/spi.h"

#include "core/kdf.h"
#include "pg/seals/eventkey.h"

/*
 * The columns of an event, in the order of its digest.  A column that is added to
 * the table later is not in it.
 */
#define CHATCRYPT_EVENT_COLUMNS \
	"e.event_id, e.event, e.chat_id, e.tenant, e.purpose, e.dek_version, e.kms_key, e.detail, " \
	"e.role, e.session_role, e.actor, e.happened_at, e.transaction_id"
#define CHATCRYPT_EVENT_NCOLUMNS 13

/* A row of chatcrypt.event_seal, but for its MAC. */
typedef struct ChatcryptSeal
{
	int64		number;			/* 1 for the first */
	uint8		previous_mac[CC_SHA256_LEN];	/* zeroes in the first seal */
	int64		system_id;		/* of the cluster that sealed, as in pg_control_system() */
	uint64		horizon;		/* transactions before it had ended; 0 if events were left */
	int64		sealed_at;
	const char *event_ids;		/* a multirange, as its type writes it */
	const uint8 *digests;		/* 32 bytes for each event */
	Size		digests_len;
} ChatcryptSeal;

/* The columns of a seal, for chatcrypt_eventseal_read(). */
#define CHATCRYPT_SEAL_COLUMNS \
	"s.seal_id, s.event_ids::text, s.event_digests, s.horizon, s.system_id, s.previous_mac, s.mac, " \
	"s.sealed_at"

/* The digest of the CHATCRYPT_EVENT_COLUMNS of a row, which begin at column first. */
extern void chatcrypt_eventseal_digest(HeapTuple row, TupleDesc columns, int first,
									   uint8 digest[CC_SHA256_LEN]);

extern void chatcrypt_eventseal_mac(const ChatcryptEventKey *key, const ChatcryptSeal *seal,
									uint8 mac[CC_SHA256_LEN]);

/*
 * Reads a row of CHATCRYPT_SEAL_COLUMNS, which may come from outside: the seal, and the MAC
 * that the row claims.  False where the row cannot be a seal.  Allocates in the current memory
 * context.
 */
extern bool chatcrypt_eventseal_read(HeapTuple row, TupleDesc columns, ChatcryptSeal *seal,
									 uint8 mac[CC_SHA256_LEN]);

#endif
