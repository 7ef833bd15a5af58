/*
 * protectslot.h
 *		Slots for rows of tables of the access method chatcrypt.
 *
 * A slot is a buffer heap slot with additional fields.  It is in one of two states: raw, where it
 * holds the stored tuple as a buffer heap slot does, or virtual, where it holds only values.  A
 * tuple that was formed with plaintext is never stored in it.  Values of protected columns are lazy
 * (lazyvalue.h), and stay lazy when a slot is copied.
 */
#ifndef CHATCRYPT_PROTECTSLOT_H
#define CHATCRYPT_PROTECTSLOT_H

#include "postgres.h"

#include "access/htup_details.h"
#include "executor/tuptable.h"

#include "pg/protect/lazyvalue.h"
#include "pg/protect/plainmemory.h"
#include "pg/protect/protected.h"

typedef struct ChatcryptSlot
{
	BufferHeapTupleTableSlot base;
	ChatcryptProtected *table;	/* a copy of the description; NULL before the first row */
	ChatcryptLazy *lazy;		/* one for each protected column */
	ChatcryptPlainMemory memory;
	bool		for_statistics; /* see chatcrypt_protectslot_for_statistics() */
	bool		owns_values;	/* it is virtual, and its values are in its own memory */
	bool		has_header;		/* header is that of the tuple written from this slot */
	HeapTupleHeaderData header; /* for system columns */
} ChatcryptSlot;

extern const TupleTableSlotOps *chatcrypt_protectslot_ops(void);

#define CHATCRYPT_IS_OURS(slot) ((slot)->tts_ops == chatcrypt_protectslot_ops())

/*
 * The heap fills a slot as if it were one of its own.  PostgreSQL checks the operations of a slot
 * before it stores a tuple in it, so between lending and taking back they are the heap's.  To look
 * means that the heap leaves the slot's contents alone.
 */
extern void chatcrypt_protectslot_lend(TupleTableSlot *slot);
extern void chatcrypt_protectslot_lend_to_look(TupleTableSlot *slot);
extern void chatcrypt_protectslot_take_back(TupleTableSlot *slot, const ChatcryptProtected *table);

/* For ANALYZE: the slot shows stored values, and NULL for columns that are not all sealed. */
extern void chatcrypt_protectslot_for_statistics(TupleTableSlot *slot);

/* Copies a value into the slot's memory, where it is wiped in the end. */
extern Datum chatcrypt_protectslot_own(TupleTableSlot *slot, Datum value);

/* Takes the row's place and header from the tuple that was written. */
extern void chatcrypt_protectslot_note_written(TupleTableSlot *slot, HeapTuple written);

extern void chatcrypt_protectslot_init_ops(void);

#endif
