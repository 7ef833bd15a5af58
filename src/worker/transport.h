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

/* Read at every send: the string stays the caller's. */
typedef struct ChatcryptTransportConfig
{
	const char *proxy;			/* "" for none */
	bool		allow_http;

	/*
	 * Out: when the certificates of the server that is called expire, in seconds since
	 * 1970.  Written in any handshake that has shown them to be genuine, also where it
	 * failed because one has expired; static memory, since a connection outlives calls.
	 */
	int64	   *certificate_not_after;
} ChatcryptTransportConfig;

typedef struct ChatcryptTransfer ChatcryptTransfer;

/* The reply is the transport's, and wiped when this returns. */
typedef void (*ChatcryptTransferDone) (void *owner, const cc_http_reply *reply);

extern void chatcrypt_transport_start(void);

/*
 * Sends; done is called once, from chatcrypt_transport_wait(), unless the transfer
 * is canceled.  The request must stay as it is until then.  NULL, with the reason
 * in words, where it cannot even be tried.
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
