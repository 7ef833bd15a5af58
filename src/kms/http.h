/*
 * http.h
 *		A request that a provider has built, and the reply that it will parse: plain
 *		memory.  Not here: what moves the bytes (worker/transport.c).
 */
#ifndef CC_HTTP_H
#define CC_HTTP_H

#include "core/bytes.h"

#define CC_HTTP_URL_MAX			1024
#define CC_HTTP_HEADER_MAX		8192	/* one header line: a Kubernetes token fits */
#define CC_HTTP_HEADERS			6
#define CC_HTTP_REPLY_MAX		(1024 * 1024)

/* The files that the transport sets up TLS with; NULL or "" for none. */
typedef struct cc_http_tls
{
	char	   *ca_file;		/* the only authorities that may vouch for the server */
	char	   *cert_file;		/* the client's certificate, and its key */
	char	   *key_file;
} cc_http_tls;

typedef struct cc_http_request
{
	const char *method;			/* "GET" or "POST": static */
	char		url[CC_HTTP_URL_MAX];
	char	   *headers[CC_HTTP_HEADERS];	/* "Name: value" for each header sent; owned, secret */
	int			nheaders;
	char	   *body;			/* owned, secret; NULL for none */
	size_t		body_len;
	cc_http_tls tls;			/* the session's strings */
	uint64_t	login;			/* the session's login that it uses; copied into the reply */
} cc_http_request;

typedef struct cc_http_reply
{
	long		status;			/* 0 where no HTTP status arrived: see transport_error */
	const char *transport_error;	/* static, or the transport's own memory; NULL where status != 0 */
	bool		timed_out;
	long		retry_after_ms;	/* -1 where the server sent no Retry-After */
	const uint8_t *body;		/* the transport's; it wipes the body once that is parsed */
	size_t		body_len;
	uint64_t	login;			/* the request's; 0 stands for the newest login */
} cc_http_reply;

/* Wipes and frees what the request owns, and leaves it empty. */
extern void cc_http_request_clear(cc_http_request *request);

/* Copies the text.  False where memory runs out or a limit is exceeded. */
extern CC_MUST_CHECK bool cc_http_request_header(cc_http_request *request, const char *name,
												 const char *value);

#endif
