/*
 * protectlabels.h
 *		Security labels of the provider chatcrypt: who may set which.
 */
#ifndef CHATCRYPT_PROTECTLABELS_H
#define CHATCRYPT_PROTECTLABELS_H

#include "access/attnum.h"

#include "pg/protect/protected.h"

/* Sets the label of a column past the rules for users; NULL for none. */
extern void chatcrypt_protectlabels_set(Oid relation, AttrNumber column, const char *label);

/* The label of a column; NULL for none. */
extern char *chatcrypt_protectlabels_get(Oid relation, AttrNumber column);

extern void chatcrypt_protectlabels_install(void);

#endif
