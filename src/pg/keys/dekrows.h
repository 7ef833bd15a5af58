/*
 * dekrows.h
 *		Writes rows of chatcrypt.dek, of one chat or many, inside an owner scope: adds new keys,
 *		and destroys keys.
 */
#ifndef CHATCRYPT_DEKROWS_H
#define CHATCRYPT_DEKROWS_H

#include "pg/keys/newdeks.h"
#include "pg/store/owner.h"

/* Columns of new keys as arguments of a statement: chat_id, encrypted_dek and kcv. */
extern ChatcryptArg chatcrypt_dekrows_chats(const ChatcryptNewDek *deks, int count);
extern ChatcryptArg chatcrypt_dekrows_wrapped(const ChatcryptNewDek *deks, int count);
extern ChatcryptArg chatcrypt_dekrows_kcvs(const ChatcryptNewDek *deks, int count);

/*
 * Writes new keys of chats that exist and are locked.  All keys have one purpose and version.
 * A key whose version is above all that its chat ever had replaces the active key; any other
 * key only opens.  Clients that may hold an older key of a conversation are told when the
 * transaction commits.
 */
extern void chatcrypt_dekrows_write(const ChatcryptNewDek *deks, char *const *kms_keys, int count);

/*
 * Destroys the keys for which an SQL condition on chatcrypt.dek AS d holds and that are not
 * destroyed yet, and returns their number.  Their rows stay.  The caller has locked their
 * chats, and has the keys evicted from the shared cache (pg/cache/eviction.h).
 */
extern uint64 chatcrypt_dekrows_destroy(const char *condition, const ChatcryptArg *args, int nargs);

#endif
