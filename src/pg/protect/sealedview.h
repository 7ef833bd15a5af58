/*
 * sealedview.h
 *		Which sessions are shown the sealed form of protected values, and which restore a dump.
 */
#ifndef CHATCRYPT_SEALEDVIEW_H
#define CHATCRYPT_SEALEDVIEW_H

#include "postgres.h"

/*
 * Whether the sealed form is shown: to a user who is not a chatcrypt_reader, if chatcrypt.show is
 * sealed, and to replication and pg_dump if it is auto.
 */
extern bool chatcrypt_sealedview_applies(void);

/*
 * Whether the backend may store envelopes whose keys do not exist here: a logical replication
 * worker, a backend that restores a dump, or one for which a superuser set chatcrypt.restore.
 */
extern bool chatcrypt_sealedview_restores(void);

#endif
