/*
 * certificates.h
 *		When the certificates that a server shows in a handshake expire.  The functions touch
 *		plain memory only, and so libcurl may call them.
 */
#ifndef CHATCRYPT_CERTIFICATES_H
#define CHATCRYPT_CERTIFICATES_H

#include <openssl/ssl.h>

/*
 * Sets *not_after, in seconds since 1970, in any handshake with this context that has shown
 * the certificates to be genuine.
 */
extern void chatcrypt_certificates_watch(SSL_CTX *context, int64 *not_after);

/*
 * May we look into the contexts of the TLS library with this name and version?  They are as
 * libcurl reports them, which may use another library, or another version of this one.
 */
extern bool chatcrypt_certificates_are_seen(const char *ssl_version);

#endif
