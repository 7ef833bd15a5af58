/*
 * protecterrors.h
 *		Keeps rows of protected tables out of error reports.
 */
#ifndef CHATCRYPT_PROTECTERRORS_H
#define CHATCRYPT_PROTECTERRORS_H

#include "utils/relcache.h"

/* From here on, no error of the backend shows a row of this table. */
extern void chatcrypt_protecterrors_note(Relation relation);

extern void chatcrypt_protecterrors_install_hooks(void);

#endif
