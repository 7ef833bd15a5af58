/*
 * arrivals.h
 *		Requests as they come in from their slots.
 */
#ifndef CHATCRYPT_ARRIVALS_H
#define CHATCRYPT_ARRIVALS_H

#include "worker/dispatch.h"

extern void chatcrypt_arrivals_accept(int64 now_ms);

#endif
