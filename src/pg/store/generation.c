/*
 * generation.c
 *		Numbers that move when rows of tables may have changed: see generation.h.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/inval.h"

#include "pg/store/generation.h"

static ChatcryptGeneration *generations;

static void
note_relcache_change(Datum arg, Oid relation)
{
	(void) arg;
	for (ChatcryptGeneration *generation = generations; generation != NULL;
		 generation = generation->next)
		if (relation == InvalidOid || relation == generation->relations[0] ||
			relation == generation->relations[1])
			generation->now++;
}

static void
move_all(void)
{
	for (ChatcryptGeneration *generation = generations; generation != NULL;
		 generation = generation->next)
		generation->now++;
}

static void
note_transaction(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PARALLEL_ABORT ||
		event == XACT_EVENT_PREPARE)
		move_all();
}

static void
note_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	(void) mine;
	(void) parent;
	(void) arg;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		move_all();
}

void
chatcrypt_generation_watch(ChatcryptGeneration *generation)
{
	if (generations == NULL)
	{
		CacheRegisterRelcacheCallback(note_relcache_change, (Datum) 0);
		RegisterXactCallback(note_transaction, NULL);
		RegisterSubXactCallback(note_subtransaction, NULL);
	}
	generation->now = 1;
	generation->next = generations;
	generations = generation;
}
