/*
 * protectchecks.h
 *		Checks whether a column can be protected.  They run before anything is changed, and report
 *		all reasons at once.
 */
#ifndef CHATCRYPT_PROTECTCHECKS_H
#define CHATCRYPT_PROTECTCHECKS_H

#include "access/attnum.h"

/* The arguments of protect(). */
typedef struct ChatcryptTarget
{
	Oid			relation;
	const char *column;
	const char *chat;
	const char *message;
} ChatcryptTarget;

/* Raises an error if the current user does not own the table or is not a chatcrypt_admin. */
extern void chatcrypt_protectchecks_owner(Oid relation, const char *function);

/* Raises an error with all reasons why the target cannot be protected; returns if there is none. */
extern void chatcrypt_protectchecks_require(const ChatcryptTarget *target);

/* Warns of everything that limits the protection without forbidding it. */
extern void chatcrypt_protectchecks_warn(const ChatcryptTarget *target);

#endif
