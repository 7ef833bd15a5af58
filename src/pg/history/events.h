/*
 * events.h
 *		The history of what was done to keys: chatcrypt.key_event.
 */
#ifndef CHATCRYPT_EVENTS_H
#define CHATCRYPT_EVENTS_H

#include "core/bytes.h"
#include "pg/store/owner.h"

/* Unset fields are NULL, or 0 for the version.  event is one of those that the table lists. */
typedef struct ChatcryptEvent
{
	const char *event;
	const uint8 *chat_id;
	const char *tenant;
	const char *purpose;
	uint32		dek_version;
	const char *kms_key;
	const char *detail;			/* words or numbers for a person; never a secret */
} ChatcryptEvent;

/* Inside an owner scope, in the transaction of what it tells of: both are kept, or neither. */
extern void chatcrypt_event_record(const ChatcryptOwnerScope *scope, const ChatcryptEvent *event);

/* The same for each of many chats, ids as uuid[]; the event names none. */
extern void chatcrypt_event_record_chats(const ChatcryptOwnerScope *scope, Datum ids,
										 const ChatcryptEvent *event);

#endif
