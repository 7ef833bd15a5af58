/*
 * events.h
 *		The history of what was done to keys: chatcrypt.key_event.
 */
#ifndef CHATCRYPT_EVENTS_H
#define CHATCRYPT_EVENTS_H

#include "core/bytes.h"
#include "pg/store/owner.h"

/*
 * Unset fields are NULL, or 0 for the version.  event is one of the words that the table
 * allows.
 */
typedef struct ChatcryptEvent
{
	const char *event;
	const uint8 *chat_id;
	const char *tenant;
	const char *purpose;
	uint32		dek_version;
	const char *kms_key;
	const char *detail;			/* text for a person to read; never a secret */
} ChatcryptEvent;

/*
 * Records an event inside an owner scope, in the transaction that it describes, so that both
 * are committed or neither.
 */
extern void chatcrypt_event_record(const ChatcryptOwnerScope *scope, const ChatcryptEvent *event);

/* The same event for each of many chats: ids is a uuid[], and event->chat_id must be NULL. */
extern void chatcrypt_event_record_chats(const ChatcryptOwnerScope *scope, Datum ids,
										 const ChatcryptEvent *event);

#endif
