/*
 * http.h
 *		A request that a provider has built, and the reply that it will parse.
 *		Plain memory: whoever moves the bytes (worker/transport.c) is somebody else.
 */
#ifndef CC_HTTP_H
#define CC_HTTP_H

#include "core/bytes.h"

#define CC_HTTP_URL_MAX			1024
#define CC_HTTP_HEADER_MAX		8192	/* one header line: a Kubernetes token fits */
#define CC_HTTP_HEADERS			6
#define CC_HTTP_REPLY_MAX		(1024 * 1024)

/* Files that the transport sets TLS up with; NULL or "" for none. */
typedef struct cc_http_tls
{
	char	   *ca_file;		/* the only authorities that may vouch for the server */
	char	   *cert_file;		/* a certificate of the client's, and its key */
	char	   *key_file;
} cc_http_tls;

typedef struct cc_http_request
{
	const char *method;			/* "GET" or "POST": static */
	char		url[CC_HTTP_URL_MAX];
	char	   *headers[CC_HTTP_HEADERS];	/* "Name: value", all that are sent; owned, secret */
	int			nheaders;
	char	   *body;			/* owned, secret; NULL for none */
	size_t		body_len;
	cc_http_tls tls;			/* the session's strings */
	uint64_t	login;			/* which login of the session it uses: goes back in the reply */
} cc_http_request;

typedef struct cc_http_reply
{
	long		status;			/* 0 where no HTTP status arrived: see transport_error */
	const char *transport_error;	/* in words, static or the transport's own; NULL where status != 0 */
	bool		timed_out;
	long		retry_after_ms;	/* -1 where the server named none */
	const uint8_t *body;		/* the transport's own; wiped by it after the provider has parsed it */
	size_t		body_len;
	uint64_t	login;			/* of the request; 0 stands for the newest */
} cc_http_reply;

/* Wipes and frees what the request owns, and leaves it empty. */
extern void cc_http_request_clear(cc_http_request *request);

/* False where memory fails or a limit is passed. The text is copied. */
extern CC_MUST_CHECK bool cc_http_request_header(cc_http_request *request, const char *name,
												 const char *value);

#endif
