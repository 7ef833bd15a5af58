/*
 * protectchecks.h
 *		What keeps a column from being protected: found before anything is changed, and reported
 *		all at once.
 */
#ifndef CHATCRYPT_PROTECTCHECKS_H
#define CHATCRYPT_PROTECTCHECKS_H

#include "access/attnum.h"

/* What protect() is asked for. */
typedef struct ChatcryptTarget
{
	Oid			relation;
	const char *column;
	const char *chat;
	const char *message;
} ChatcryptTarget;

/* Raises where the current user is not the table's owner, or not chatcrypt_admin. */
extern void chatcrypt_protectchecks_owner(Oid relation, const char *function);

/* Raises with all reasons why the target cannot be protected. */
extern void chatcrypt_protectchecks_require(const ChatcryptTarget *target);

/* Warnings of what still is, or will be, less than one may expect. */
extern void chatcrypt_protectchecks_warn(const ChatcryptTarget *target);

#endif
