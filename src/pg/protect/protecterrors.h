/*
 * protecterrors.h
 *		Keeps rows of protected tables out of what is reported of errors.
 */
#ifndef CHATCRYPT_PROTECTERRORS_H
#define CHATCRYPT_PROTECTERRORS_H

#include "utils/relcache.h"

/* A table whose rows an error must not show, from here on in this session. */
extern void chatcrypt_protecterrors_note(Relation relation);

extern void chatcrypt_protecterrors_install_hooks(void);

#endif
