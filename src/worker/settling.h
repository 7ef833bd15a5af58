/*
 * settling.h
 *		What a reply means to the flights of its call.
 */
#ifndef CHATCRYPT_SETTLING_H
#define CHATCRYPT_SETTLING_H

#include "worker/dispatch.h"

/* Makes each flight of the call succeed, fail, or be tried again, and ends the call. */
extern void chatcrypt_settling_run(KmsCall *call, cc_kms_outcome outcome, const char *error);

#endif
