/*
 * memberships.c
 *		Remembers in which chats one participant takes part: see memberships.h.
 */
#include "postgres.h"

#include "pg/access/memberships.h"
#include "pg/store/chatmemory.h"
#include "pg/store/store.h"

static const char *participant; /* the name that the current look-up is about */

static bool
read_membership(const uint8 *chat_id, void *value)
{
	bool		lasts;

	*(bool *) value = chatcrypt_store_is_participant(chat_id, participant, &lasts);
	return lasts;
}

/* An invalidation of the view chats stands for the table participant: see invalidate.c. */
static ChatcryptMemory memberships = {
	.tables = {"chats", "chat"}, .value_size = sizeof(bool), .read = read_membership
};

bool
chatcrypt_memberships_has(const uint8 chat_id[CC_ID_LEN], const char *name)
{
	const bool *takes_part;

	participant = name;
	takes_part = chatcrypt_chatmemory_remember(&memberships, chat_id);
	return takes_part != NULL && *takes_part;
}

void
chatcrypt_memberships_forget(void)
{
	chatcrypt_chatmemory_forget(&memberships);
}
