/*
 * workerslots.h
 *		The worker's side of the request slots: pending slots are taken, and answered.
 *		States and locks are in slotdirectory.h; the sessions' side is in sessionslots.h.
 */
#ifndef CHATCRYPT_WORKERSLOTS_H
#define CHATCRYPT_WORKERSLOTS_H

#include "pg/service/slot.h"

extern void chatcrypt_workerslots_attach(void);
extern void chatcrypt_workerslots_detach(void);

/* Takes all pending slots, the oldest first, and returns their number. */
extern int	chatcrypt_workerslots_take(int slots[CHATCRYPT_SLOTS]);
extern const ChatcryptSlotRequest *chatcrypt_workerslots_request(int slot);
extern cc_kms_item *chatcrypt_workerslots_item(int slot);

/* False if no session waits for the answer any more.  A session that joins moves *deadline_ms. */
extern bool chatcrypt_workerslots_wanted(int slot, int64 *deadline_ms);
extern void chatcrypt_workerslots_finish(int slot, const ChatcryptSlotAnswer *answer);

#endif
