/*
 * access.h
 *		Access checks: the participants of chats, the client's transport, and, together
 *		with rights.h, roles.
 */
#ifndef CHATCRYPT_ACCESS_H
#define CHATCRYPT_ACCESS_H

#include "core/bytes.h"
#include "pg/access/actor.h"
#include "pg/access/rights.h"

/*
 * To be called before plaintext goes to or comes from a client.  Checks the right,
 * chatcrypt.require_tls, and that an actor is set if one is required.
 */
extern void chatcrypt_access_require_for_plaintext(ChatcryptRight right);

/* The same without the right, where that was asked for when the value was read. */
extern void chatcrypt_access_require_client(void);

/*
 * To be called before the key of a conversation goes to a client.  An actor, who must be a
 * participant, needs only the right to read.
 */
extern void chatcrypt_access_require_for_key(const uint8 chat_id[CC_ID_LEN]);

/*
 * Raises if an actor is required and none is set, or if the actor is not a participant of the
 * chat.
 */
extern void chatcrypt_access_require_participant(const uint8 chat_id[CC_ID_LEN]);

/* The same check without an error, for row-level security. */
extern bool chatcrypt_access_actor_may_see(const uint8 chat_id[CC_ID_LEN]);

/*
 * The same for C code that is about to use a data key.  Maintenance passes without an actor,
 * even if chatcrypt.require_actor is on.  SQL functions must also call
 * chatcrypt_access_require_participant(), because maintenance also runs code of the owners of
 * registered tables, which may call them.
 */
extern void chatcrypt_access_require_for_key_use(const uint8 chat_id[CC_ID_LEN]);

/* Called once by a process without a client; no SQL function calls it. */
extern void chatcrypt_access_act_for_nobody(void);

extern void chatcrypt_access_define_settings(void);
extern void chatcrypt_access_install_hooks(void);

#endif
