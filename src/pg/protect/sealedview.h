/*
 * sealedview.h
 *		Who is shown the stored form of what is protected, and which sessions restore a dump.
 */
#ifndef CHATCRYPT_SEALEDVIEW_H
#define CHATCRYPT_SEALEDVIEW_H

#include "postgres.h"

/*
 * Whether the current user is shown the sealed form: who is not chatcrypt_reader, and as
 * chatcrypt.show says replication and pg_dump.
 */
extern bool chatcrypt_sealedview_applies(void);

/*
 * Whether this session may bring envelopes whose keys are not here: a logical worker, a session
 * that restores a dump, and one for which a superuser set chatcrypt.restore.
 */
extern bool chatcrypt_sealedview_restores(void);

#endif
