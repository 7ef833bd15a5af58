/*
 * transport.h
 *		Moves the bytes of requests to the KMS and of its replies: the only file of
 *		the tree that knows libcurl.
 *
 * HTTPS with host and certificate checks, TLS 1.2 or newer; no redirects, no proxy
 * but a configured one, no credentials from files or the environment; replies are
 * capped.  Nothing that libcurl calls may allocate from PostgreSQL or raise.
 */
#ifndef CHATCRYPT_TRANSPORT_H
#define CHATCRYPT_TRANSPORT_H

#include "kms/http.h"

/* Read at every send; its strings belong to the caller. */
typedef struct ChatcryptTransportConfig
{
	const char *proxy;			/* "" for none */
	bool		allow_http;

	/*
	 * Out: when the certificates of the server expire, in seconds since 1970.  It is written
	 * in any handshake that has shown them to be genuine, also one that failed because a
	 * certificate has expired.  It must be static memory, since a connection outlives calls.
	 */
	int64	   *certificate_not_after;
} ChatcryptTransportConfig;

typedef struct ChatcryptTransfer ChatcryptTransfer;

/* The reply belongs to the transport, and is wiped when this function returns. */
typedef void (*ChatcryptTransferDone) (void *owner, const cc_http_reply *reply);

extern void chatcrypt_transport_start(void);

/*
 * Sends a request.  done() is called once, from chatcrypt_transport_wait(), unless the
 * transfer is canceled; the request must stay unchanged until then.  Returns NULL, with the
 * reason in words, where nothing can be sent.
 */
extern ChatcryptTransfer *chatcrypt_transport_send(const ChatcryptTransportConfig *config,
												   const cc_http_request *request,
												   int64 connect_timeout_ms, int64 timeout_ms,
												   ChatcryptTransferDone done, void *owner,
												   const char **error);

/* Ends a transfer without calling done. */
extern void chatcrypt_transport_cancel(ChatcryptTransfer *transfer);

/* Has new connections made, with certificates read anew, as soon as no transfer is under way. */
extern void chatcrypt_transport_renew(void);

/* Sleeps until the latch is set, a transfer has ended, or timeout_ms have passed. */
extern void chatcrypt_transport_wait(int64 timeout_ms);

#endif
