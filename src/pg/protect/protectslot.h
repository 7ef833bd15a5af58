/*
 * protectslot.h
 *		Slots for rows of tables of the access method chatcrypt.
 *
 * A slot is a buffer heap slot with more behind it, in one of two states: raw, where it holds the
 * stored tuple as a buffer heap slot does, and virtual, where it has values alone.  A tuple that
 * was formed with plaintext is never put into it.  Values of protected columns are lazy
 * (lazyvalue.h); a copy of a slot's values keeps them lazy.
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
	ChatcryptProtected *table;	/* a copy; NULL before the first row */
	ChatcryptLazy *lazy;		/* one for each of its columns */
	ChatcryptPlainMemory memory;
	bool		for_statistics; /* shows what is stored: see chatcrypt_protectslot_for_statistics() */
	bool		owns_values;	/* virtual, and values are in memory */
	bool		has_header;		/* of what was written from it, for system columns */
	HeapTupleHeaderData header;
} ChatcryptSlot;

extern const TupleTableSlotOps *chatcrypt_protectslot_ops(void);

#define CHATCRYPT_IS_OURS(slot) ((slot)->tts_ops == chatcrypt_protectslot_ops())

/*
 * The heap fills a slot that it takes for one of its own.  PostgreSQL checks the operations of a
 * slot before it stores into it, so they are the heap's between these two.
 */
extern void chatcrypt_protectslot_lend(TupleTableSlot *slot);
extern void chatcrypt_protectslot_lend_to_look(TupleTableSlot *slot);
extern void chatcrypt_protectslot_take_back(TupleTableSlot *slot, const ChatcryptProtected *table);

/* For ANALYZE: values as they are stored, and NULL in columns that are not all sealed. */
extern void chatcrypt_protectslot_for_statistics(TupleTableSlot *slot);

/* A copy of a value in the slot's memory. */
extern Datum chatcrypt_protectslot_own(TupleTableSlot *slot, Datum value);

/* After the tuple was written. */
extern void chatcrypt_protectslot_note_written(TupleTableSlot *slot, HeapTuple written);

extern void chatcrypt_protectslot_init_ops(void);

#endif
