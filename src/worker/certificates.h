/*
 * certificates.h
 *		When the certificates of a server expire, as a handshake shows them.  Touches plain
 *		memory only, and so may be called by libcurl.
 */
#ifndef CHATCRYPT_CERTIFICATES_H
#define CHATCRYPT_CERTIFICATES_H

#include <openssl/ssl.h>

/*
 * not_after is written in any handshake with this context that has shown the certificates to
 * be genuine, in seconds since 1970.
 */
extern void chatcrypt_certificates_watch(SSL_CTX *context, int64 *not_after);

/*
 * Are contexts of that library ours to look into?  Its name and version are as libcurl tells
 * them, which may stand on another library, or on another version of this one.
 */
extern bool chatcrypt_certificates_are_seen(const char *ssl_version);

#endif
