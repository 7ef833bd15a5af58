/*
 * viewquery.h
 *		What the trigger of the view messages knows about its query.  It is kept in fn_extra,
 *		the place that a function has for itself for the length of a query.
 */
#ifndef CHATCRYPT_VIEWQUERY_H
#define CHATCRYPT_VIEWQUERY_H

#include "fmgr.h"

#include "pg/messages/directinsert.h"

/* Kept from one row to the next. */
typedef struct ChatcryptViewQuery
{
	bool		rows_are_locked;	/* the plan locks rows: each is its newest version */
	bool		ignores_duplicates; /* ON CONFLICT DO NOTHING */
	bool		sought_direct_insert;
	ChatcryptDirectInsert *direct_insert;	/* NULL where SQL must be used */
} ChatcryptViewQuery;

/*
 * What is known about the query that called the trigger; nothing for one without a plan, as
 * COPY.
 */
static inline ChatcryptViewQuery *
chatcrypt_viewquery_of(FmgrInfo *trigger)
{
	if (trigger->fn_extra == NULL)
		trigger->fn_extra = MemoryContextAllocZero(trigger->fn_mcxt, sizeof(ChatcryptViewQuery));
	return (ChatcryptViewQuery *) trigger->fn_extra;
}

#endif
