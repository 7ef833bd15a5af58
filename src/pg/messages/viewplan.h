/*
 * viewplan.h
 *		How statements that write to the view chatcrypt.messages are planned, and
 *		what its trigger learns from their plans.
 */
#ifndef CHATCRYPT_VIEWPLAN_H
#define CHATCRYPT_VIEWPLAN_H

#include "fmgr.h"

#include "pg/messages/rowwriter.h"

/* What the trigger knows of its query, and keeps from one row to the next. */
typedef struct ChatcryptViewWrite
{
	bool		rows_are_locked;	/* by the plan: each row is its newest version */
	bool		ignores_duplicates; /* ON CONFLICT DO NOTHING */
	bool		sought_writer;
	ChatcryptRowWriter *writer; /* NULL where SQL must be used */
} ChatcryptViewWrite;

/* Of the query that called the trigger; nothing is known of one without a plan, as COPY. */
extern ChatcryptViewWrite *chatcrypt_view_write(FmgrInfo *trigger);

/* Raises for nothing: databases without the extension come here too. */
extern bool chatcrypt_is_messages_view(Oid relation);

extern void chatcrypt_viewplan_install_hooks(void);

#endif
