/*
 * workerslots.h
 *		The worker's side of the request slots: what is pending is taken, and answered.
 *		States and locks are in slotdirectory.h; the backends' side is slots.h.
 */
#ifndef CHATCRYPT_WORKERSLOTS_H
#define CHATCRYPT_WORKERSLOTS_H

#include "pg/service/slot.h"

extern void chatcrypt_workerslots_attach(void);
extern void chatcrypt_workerslots_detach(void);

/* Hands over what is pending, oldest first. */
extern int	chatcrypt_workerslots_take(int slots[CHATCRYPT_SLOTS]);
extern const ChatcryptSlotRequest *chatcrypt_workerslots_request(int slot);
extern cc_kms_item *chatcrypt_workerslots_item(int slot);

/* False where nobody wants the answer any more; deadline_ms moves when others join. */
extern bool chatcrypt_workerslots_wanted(int slot, int64 *deadline_ms);
extern void chatcrypt_workerslots_finish(int slot, const ChatcryptSlotAnswer *answer);

#endif
