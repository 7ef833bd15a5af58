/*
 * settling.h
 *		What a reply means to the flights of its call.
 */
#ifndef CHATCRYPT_SETTLING_H
#define CHATCRYPT_SETTLING_H

#include "worker/dispatch.h"

/* Each flight of the call succeeds, fails, or is tried again; ends the call. */
extern void chatcrypt_settling_run(KmsCall *call, cc_kms_outcome outcome, const char *error);

#endif
