/*
 * destroyedchats.c
 *		Chats whose keys were destroyed: see destroyedchats.h.
 *
 * An answer is remembered until a row of chatcrypt.dek changes
 * (chatcrypt_relations_dek_generation()).  That a chat has an active key may be remembered; that it
 * has none may not, because inserting a row does not invalidate what is remembered.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "utils/snapmgr.h"

#include "pg/protect/destroyedchats.h"
#include "pg/store/chatmemory.h"
#include "pg/store/relations.h"
#include "pg/store/store.h"

static bool read_chat(const uint8 *chat_id, void *value);

static ChatcryptMemory chats = {
	.tables = {"dek"}, .value_size = sizeof(bool), .read = read_chat
};

static bool
read_chat(const uint8 *chat_id, void *value)
{
	ChatcryptDekRow row;

	*(bool *) value = !chatcrypt_store_dek(chat_id, CHATCRYPT_PURPOSE_DATA, 0, &row);
	return !*(bool *) value;
}

bool
chatcrypt_destroyedchats_has(const uint8 chat_id[CC_ID_LEN])
{
	const bool *destroyed = chatcrypt_chatmemory_remember(&chats, chat_id);

	return destroyed == NULL || *destroyed;
}

static bool
look_for_any(void)
{
	Relation	dek = table_open(chatcrypt_relations_find("dek"), AccessShareLock);
	SysScanDesc scan = systable_beginscan(dek, chatcrypt_relations_find("dek_destroyed"), true,
										  GetCatalogSnapshot(RelationGetRelid(dek)), 0, NULL);
	bool		found = HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	table_close(dek, AccessShareLock);
	return found;
}

bool
chatcrypt_destroyedchats_exist(void)
{
	static uint64 known_generation = 0;
	static bool exist = false;
	uint64		generation = chatcrypt_relations_dek_generation();

	if (unlikely(generation != known_generation))
	{
		exist = look_for_any();
		known_generation = generation;
	}
	return exist;
}
