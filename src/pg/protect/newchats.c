/*
 * newchats.c
 *		Makes the chats whose first value a protected table stores: see newchats.h.
 *
 * Of two transactions that write the first message of the same chat at the same time, one waits for
 * the other, as with two INSERTs of the same key.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/snapmgr.h"

#include "pg/access/actor.h"
#include "pg/protect/newchats.h"
#include "pg/store/chatmemory.h"
#include "pg/store/owner.h"
#include "pg/store/store.h"

static bool read_chat(const uint8 *chat_id, void *value);

/* Chats that are known to exist. */
static ChatcryptMemory chats = {
	.tables = {"chat"}, .value_size = sizeof(bool), .read = read_chat
};

static bool
read_chat(const uint8 *chat_id, void *value)
{
	ChatcryptMode mode;

	*(bool *) value = chatcrypt_store_chat_mode(chat_id, &mode);
	return *(bool *) value;
}

static void
make_chat(const uint8 *chat_id)
{
	ChatcryptOwnerScope scope;
	ChatcryptArg arg = {UUIDOID, PointerGetDatum(chat_id), false};

	PushActiveSnapshot(GetTransactionSnapshot());
	chatcrypt_owner_begin(&scope);
	chatcrypt_owner_execute("SELECT chatcrypt.create_chat($1, if_not_exists => true)", &arg, 1);
	chatcrypt_owner_end(&scope);
	PopActiveSnapshot();
}

void
chatcrypt_newchats_ensure(const uint8 chat_id[CC_ID_LEN])
{
	if (chatcrypt_chatmemory_remember(&chats, chat_id) != NULL)
		return;
	/* In these cases no chat is made, and sealing then reports that it does not exist. */
	if (chatcrypt_actor() != NULL || chatcrypt_actor_is_lacking() ||
		IsInParallelMode() || XactReadOnly)
		return;
	make_chat(chat_id);
}
