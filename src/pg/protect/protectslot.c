/*
 * protectslot.c
 *		Slots for rows of tables of the access method chatcrypt: see protectslot.h.
 *
 * Each operation works as that of a buffer heap slot if the slot is raw, and as that of a virtual
 * slot otherwise.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "utils/datum.h"
#include "utils/memutils.h"

#include "pg/base/settings.h"
#include "pg/compat.h"
#include "pg/protect/destroyedchats.h"
#include "pg/protect/protectslot.h"
#include "pg/protect/sealedview.h"

#define HEAP (&TTSOpsBufferHeapTuple)

static TupleTableSlotOps ops;

const TupleTableSlotOps *
chatcrypt_protectslot_ops(void)
{
	return &ops;
}

static inline bool
is_raw(const TupleTableSlot *slot)
{
	return ((const ChatcryptSlot *) slot)->base.base.tuple != NULL;
}

static inline void
set_ops(TupleTableSlot *slot, const TupleTableSlotOps *to)
{
	*(const TupleTableSlotOps **) &slot->tts_ops = to;
}

/* ---------- the fields that a slot has in addition to the heap's ---------- */

static inline void
drop_extras(ChatcryptSlot *slot)
{
	chatcrypt_plainmemory_reset(&slot->memory);
	slot->for_statistics = false;
	slot->owns_values = false;
	slot->has_header = false;
}

/* The protected columns may differ from before, if a label changed between two rows. */
static void
set_table(ChatcryptSlot *slot, const ChatcryptProtected *table)
{
	MemoryContext context = slot->base.base.base.tts_mcxt;
	Size		size = chatcrypt_protected_size(table);

	if (slot->table != NULL)
	{
		pfree(slot->table);
		pfree(slot->lazy);
		slot->table = NULL;
	}
	slot->lazy = MemoryContextAlloc(context, sizeof(ChatcryptLazy) * (table->ncolumns + 1));
	for (int i = 0; i < table->ncolumns; i++)
		chatcrypt_lazyvalue_init(&slot->lazy[i], &table->columns[i], &slot->memory);
	slot->table = MemoryContextAlloc(context, size);
	memcpy(slot->table, table, size);
}

void
chatcrypt_protectslot_lend(TupleTableSlot *slot)
{
	if (unlikely(!CHATCRYPT_IS_OURS(slot)))
		elog(ERROR, "the slot for a row of a protected table is of another kind");
	drop_extras((ChatcryptSlot *) slot);
	if (!is_raw(slot) && !TTS_EMPTY(slot))
		HEAP->clear(slot);
	set_ops(slot, HEAP);
}

/* The slot keeps its contents. */
void
chatcrypt_protectslot_lend_to_look(TupleTableSlot *slot)
{
	set_ops(slot, HEAP);
}

void
chatcrypt_protectslot_take_back(TupleTableSlot *slot, const ChatcryptProtected *table)
{
	ChatcryptSlot *ours = (ChatcryptSlot *) slot;

	set_ops(slot, &ops);
	if (table == NULL)
		return;
	if (unlikely(ours->table == NULL || ours->table->edition != table->edition))
		set_table(ours, table);
}

void
chatcrypt_protectslot_for_statistics(TupleTableSlot *slot)
{
	((ChatcryptSlot *) slot)->for_statistics = true;
}

Datum
chatcrypt_protectslot_own(TupleTableSlot *slot, Datum value)
{
	ChatcryptPlainMemory *memory = &((ChatcryptSlot *) slot)->memory;
	MemoryContext previous = MemoryContextSwitchTo(chatcrypt_plainmemory_context(memory));
	Datum		copy = datumCopy(value, false, -1);

	chatcrypt_plainmemory_note(memory, DatumGetPointer(copy), VARSIZE_ANY(DatumGetPointer(copy)));
	MemoryContextSwitchTo(previous);
	return copy;
}

void
chatcrypt_protectslot_note_written(TupleTableSlot *slot, HeapTuple written)
{
	ChatcryptSlot *ours = (ChatcryptSlot *) slot;

	slot->tts_tid = written->t_self;
	slot->tts_tableOid = written->t_tableOid;
	if (!CHATCRYPT_IS_OURS(slot))
		return;
	memcpy(&ours->header, written->t_data, SizeofHeapTupleHeader);
	ours->has_header = true;
}

/* ---------- operations ---------- */

static void
init(TupleTableSlot *slot)
{
	((ChatcryptSlot *) slot)->memory.parent = slot->tts_mcxt;
	HEAP->init(slot);
}

static void
release(TupleTableSlot *slot)
{
	ChatcryptSlot *ours = (ChatcryptSlot *) slot;

	chatcrypt_plainmemory_delete(&ours->memory);
	if (ours->table != NULL)
	{
		pfree(ours->table);
		pfree(ours->lazy);
		ours->table = NULL;
	}
	HEAP->release(slot);
}

static void
clear(TupleTableSlot *slot)
{
	drop_extras((ChatcryptSlot *) slot);
	HEAP->clear(slot);
}

static void
null_for_statistics(TupleTableSlot *slot, const ChatcryptProtected *table, int before)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		int			at = table->columns[i].number - 1;

		if (at >= before && at < slot->tts_nvalid &&
			table->columns[i].label.state != CHATCRYPT_COLUMN_SEALED)
			slot->tts_isnull[at] = true;
	}
}

/* Replaces the values just deformed, those after the first "before" columns, by lazy values. */
static inline void
make_lazy(ChatcryptSlot *ours, int before)
{
	TupleTableSlot *slot = &ours->base.base.base;
	const ChatcryptProtected *table = ours->table;
	bool		shows_sealed = chatcrypt_sealedview_applies();

	for (int i = 0; i < table->ncolumns; i++)
	{
		int			at = table->columns[i].number - 1;

		if (at < before || at >= slot->tts_nvalid || slot->tts_isnull[at])
			continue;
		slot->tts_values[at] = chatcrypt_lazyvalue_set(&ours->lazy[i], slot, table,
													   slot->tts_values[at], shows_sealed);
	}
}

/* Called when all lazy values are in place, because opening one may deform more of the tuple. */
static void
show_null(ChatcryptSlot *ours, int before, int natts)
{
	TupleTableSlot *slot = &ours->base.base.base;

	for (int i = 0; i < ours->table->ncolumns; i++)
	{
		int			at = ours->table->columns[i].number - 1;

		if (at >= before && at < natts && !slot->tts_isnull[at] &&
			chatcrypt_lazyvalue_is_null(&ours->lazy[i]))
			slot->tts_isnull[at] = true;
	}
}

static inline bool
may_show_null(void)
{
	return chatcrypt_on_decrypt_error == CHATCRYPT_ON_ERROR_NULL ||
		(chatcrypt_on_decrypt_error == CHATCRYPT_ON_ERROR_NULL_DESTROYED &&
		 chatcrypt_destroyedchats_exist());
}

static void
getsomeattrs(TupleTableSlot *slot, int natts)
{
	ChatcryptSlot *ours = (ChatcryptSlot *) slot;
	int			before = slot->tts_nvalid;
	MemoryContext callers;

	if (unlikely(!is_raw(slot)))
		elog(ERROR, "getsomeattrs is not required to be called on a virtual tuple table slot");
	HEAP->getsomeattrs(slot, natts);
	if (unlikely(ours->table == NULL))
		elog(ERROR, "a row of a protected table came without its description");
	if (!ours->table->usable)
		return;
	/* Done here, and not by the caller, so that a missing value of a column becomes lazy too. */
	if (unlikely(slot->tts_nvalid < natts))
	{
		slot_getmissingattrs(slot, slot->tts_nvalid, natts);
		slot->tts_nvalid = natts;
	}
	/* The caller's context may not support freeing, such as that of a sort from version 17 on. */
	callers = MemoryContextSwitchTo(slot->tts_mcxt);
	if (unlikely(ours->for_statistics))
		null_for_statistics(slot, ours->table, before);
	else
	{
		make_lazy(ours, before);
		if (unlikely(may_show_null()))
		{
			/* What opening a value leaves behind is freed together with the row. */
			MemoryContextSwitchTo(chatcrypt_plainmemory_context(&ours->memory));
			show_null(ours, before, natts);
		}
	}
	MemoryContextSwitchTo(callers);
}

static Datum
getsysattr(TupleTableSlot *slot, int number, bool *isnull)
{
	ChatcryptSlot *ours = (ChatcryptSlot *) slot;
	HeapTupleData written = {
		.t_len = sizeof(HeapTupleHeaderData), .t_self = slot->tts_tid,
		.t_tableOid = slot->tts_tableOid, .t_data = &ours->header
	};

	if (ours->has_header)
		return heap_getsysattr(&written, number, slot->tts_tupleDescriptor, isnull);
	return HEAP->getsysattr(slot, number, isnull);
}

#ifdef CHATCRYPT_SLOTS_KNOW_TRANSACTIONS
static bool
is_current_xact_tuple(TupleTableSlot *slot)
{
	ChatcryptSlot *ours = (ChatcryptSlot *) slot;

	if (ours->has_header)
		return TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmin(&ours->header));
	return HEAP->is_current_xact_tuple(slot);
}
#endif

static Size
size_of_copy(Form_pg_attribute attribute, Datum value)
{
	if (attribute->attlen == -1 && VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(value)))
		return MAXALIGN(EOH_get_flat_size(DatumGetEOHP(value)));
	return MAXALIGN(datumGetSize(value, false, attribute->attlen));
}

static Datum
copy_to(char *at, Form_pg_attribute attribute, Datum value)
{
	if (attribute->attlen == -1 && VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(value)))
	{
		ExpandedObjectHeader *header = DatumGetEOHP(value);

		EOH_flatten_into(header, at, EOH_get_flat_size(header));
	}
	else
		memcpy(at, DatumGetPointer(value), datumGetSize(value, false, attribute->attlen));
	return PointerGetDatum(at);
}

/* Whether the value of a column has to be copied: it is not NULL, passed by value or lazy. */
static inline bool
is_copied(const TupleTableSlot *slot, int i)
{
	Form_pg_attribute attribute = TupleDescAttr(slot->tts_tupleDescriptor, i);

	return !slot->tts_isnull[i] && !attribute->attbyval &&
		(attribute->attlen != -1 || chatcrypt_lazyvalue_of(slot->tts_values[i]) == NULL);
}

/* Copies into one chunk, which is wiped, because it is not known which values are secret. */
static void
copy_values(ChatcryptSlot *ours)
{
	TupleTableSlot *slot = &ours->base.base.base;
	TupleDesc	desc = slot->tts_tupleDescriptor;
	Size		total = 0;
	char	   *at;

	for (int i = 0; i < desc->natts; i++)
		if (is_copied(slot, i))
			total += size_of_copy(TupleDescAttr(desc, i), slot->tts_values[i]);
	if (total == 0)
		return;
	at = MemoryContextAlloc(chatcrypt_plainmemory_context(&ours->memory), total);
	chatcrypt_plainmemory_note(&ours->memory, at, total);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		Size		size;

		if (!is_copied(slot, i))
			continue;
		size = size_of_copy(attribute, slot->tts_values[i]);
		slot->tts_values[i] = copy_to(at, attribute, slot->tts_values[i]);
		at += size;
	}
}

/* Copies the values of a virtual slot into its own memory.  Lazy values stay lazy. */
static void
own_values(TupleTableSlot *slot)
{
	ChatcryptSlot *ours = (ChatcryptSlot *) slot;
	TupleDesc	desc = slot->tts_tupleDescriptor;

	if (ours->owns_values)
		return;
	copy_values(ours);
	for (int i = 0; i < desc->natts; i++)
	{
		ChatcryptLazy *lazy = slot->tts_isnull[i] || TupleDescAttr(desc, i)->attlen != -1 ? NULL :
			chatcrypt_lazyvalue_of(slot->tts_values[i]);

		if (lazy != NULL)
			slot->tts_values[i] = chatcrypt_lazyvalue_copy(lazy, &ours->memory);
	}
	ours->owns_values = true;
}

static void
materialize(TupleTableSlot *slot)
{
	if (is_raw(slot))
		HEAP->materialize(slot);
	else
		own_values(slot);
}

/* The copy of a raw slot is raw, and is deformed on its own. */
static void
copy_raw(TupleTableSlot *to, TupleTableSlot *from)
{
	ChatcryptSlot *source = (ChatcryptSlot *) from;

	chatcrypt_protectslot_lend(to);
	set_ops(from, HEAP);
	HEAP->copyslot(to, from);
	set_ops(from, &ops);
	chatcrypt_protectslot_take_back(to, source->table);
	((ChatcryptSlot *) to)->for_statistics = source->for_statistics;
	to->tts_tableOid = from->tts_tableOid;
	to->tts_tid = from->tts_tid;
}

static void
copyslot(TupleTableSlot *to, TupleTableSlot *from)
{
	TupleDesc	desc = from->tts_tupleDescriptor;

	if (CHATCRYPT_IS_OURS(from) && is_raw(from) && !((ChatcryptSlot *) from)->has_header)
	{
		copy_raw(to, from);
		return;
	}
	clear(to);
	slot_getallattrs(from);
	for (int i = 0; i < desc->natts; i++)
	{
		to->tts_values[i] = from->tts_values[i];
		to->tts_isnull[i] = from->tts_isnull[i];
	}
	to->tts_nvalid = desc->natts;
	to->tts_flags &= ~TTS_FLAG_EMPTY;
	own_values(to);
	if (CHATCRYPT_IS_OURS(from) && ((ChatcryptSlot *) from)->has_header)
	{
		((ChatcryptSlot *) to)->header = ((ChatcryptSlot *) from)->header;
		((ChatcryptSlot *) to)->has_header = true;
	}
	to->tts_tableOid = from->tts_tableOid;
	to->tts_tid = from->tts_tid;
}

static HeapTuple
copy_heap_tuple(TupleTableSlot *slot)
{
	ChatcryptSlot *ours = (ChatcryptSlot *) slot;
	const HeapTupleHeaderData *header = ours->has_header ? &ours->header :
		is_raw(slot) ? ours->base.base.tuple->t_data : NULL;
	HeapTuple	copy;

	slot_getallattrs(slot);
	copy = heap_form_tuple(slot->tts_tupleDescriptor, slot->tts_values, slot->tts_isnull);
	copy->t_self = slot->tts_tid;
	copy->t_tableOid = slot->tts_tableOid;
	if (header != NULL)
	{
		copy->t_data->t_choice = header->t_choice;
		copy->t_data->t_ctid = header->t_ctid;
		copy->t_data->t_infomask = (copy->t_data->t_infomask & ~HEAP_XACT_MASK) |
			(header->t_infomask & HEAP_XACT_MASK);
		copy->t_data->t_infomask2 = (copy->t_data->t_infomask2 & ~HEAP2_XACT_MASK) |
			(header->t_infomask2 & HEAP2_XACT_MASK);
	}
	return copy;
}

static MinimalTuple
copy_minimal_tuple(TupleTableSlot *slot CHATCRYPT_EXTRA_PARAMETER)
{
	slot_getallattrs(slot);
	return heap_form_minimal_tuple(slot->tts_tupleDescriptor, slot->tts_values,
								   slot->tts_isnull CHATCRYPT_EXTRA);
}

void
chatcrypt_protectslot_init_ops(void)
{
	ops = *HEAP;
	ops.base_slot_size = sizeof(ChatcryptSlot);
	ops.init = init;
	ops.release = release;
	ops.clear = clear;
	ops.getsomeattrs = getsomeattrs;
	ops.getsysattr = getsysattr;
	ops.materialize = materialize;
	ops.copyslot = copyslot;
	ops.get_heap_tuple = NULL;
	ops.get_minimal_tuple = NULL;
	ops.copy_heap_tuple = copy_heap_tuple;
	ops.copy_minimal_tuple = copy_minimal_tuple;
#ifdef CHATCRYPT_SLOTS_KNOW_TRANSACTIONS
	ops.is_current_xact_tuple = is_current_xact_tuple;
#endif
}
