/*
 * dekrows.h
 *		New rows of chatcrypt.dek, for one chat or many, inside an owner scope.
 */
#ifndef CHATCRYPT_DEKROWS_H
#define CHATCRYPT_DEKROWS_H

#include "pg/keys/newdeks.h"
#include "pg/store/owner.h"

/* Columns of new keys as arguments of a statement: chat_id, encrypted_dek and kcv. */
extern ChatcryptArg chatcrypt_dek_chats(const ChatcryptNewDek *deks, int count);
extern ChatcryptArg chatcrypt_dek_wrapped(const ChatcryptNewDek *deks, int count);
extern ChatcryptArg chatcrypt_dek_kcvs(const ChatcryptNewDek *deks, int count);

/*
 * Writes new keys of chats that exist and are locked, all of one purpose and version.
 * One whose version is above all that its chat ever had takes over from the active
 * one; any other only opens.  Clients that may hold an older key of a conversation
 * are told when the transaction commits.
 */
extern void chatcrypt_write_deks(const ChatcryptNewDek *deks, char *const *kms_keys, int count);

#endif
