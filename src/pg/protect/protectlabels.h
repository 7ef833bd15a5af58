/*
 * protectlabels.h
 *		Security labels of the provider chatcrypt, and the rules of the command SECURITY LABEL.
 */
#ifndef CHATCRYPT_PROTECTLABELS_H
#define CHATCRYPT_PROTECTLABELS_H

#include "access/attnum.h"

#include "pg/protect/protected.h"

/* Sets the label of a column without checking those rules; NULL removes it. */
extern void chatcrypt_protectlabels_set(Oid relation, AttrNumber column, const char *label);

/* The label of a column; NULL for none. */
extern char *chatcrypt_protectlabels_get(Oid relation, AttrNumber column);

extern void chatcrypt_protectlabels_install(void);

/* Raises unless chatcrypt.allow_protect is on: what it allows is not finished. */
extern void chatcrypt_protectlabels_require_allowed(void);

#endif
