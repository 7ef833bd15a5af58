/*
 * sessions.h
 *		Sessions with a KMS: open, log in, renew, log in again; and the probes that find out when
 *		a KMS is back.
 */
#ifndef CHATCRYPT_SESSIONS_H
#define CHATCRYPT_SESSIONS_H

#include "worker/dispatch.h"

/* Returns false, with endpoint->refusal set, where the settings cannot be used. */
extern bool chatcrypt_session_open(KmsEndpoint *endpoint, int64 now_ms);

/* Takes every session one step further. */
extern void chatcrypt_sessions_step(int64 now_ms, int64 *wake_at_ms);

/* Forgets what may be wrong after a reload, and sends again what is under way. */
extern void chatcrypt_sessions_reload(bool config_changed);

#endif
