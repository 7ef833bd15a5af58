/*
 * transport.c
 *		libcurl's multi interface, driven from PostgreSQL's wait loop.
 *
 * libcurl says which sockets it waits for (watch_socket) and when it must be
 * called at the latest (set_timer).  Both functions are called from inside curl_multi_*,
 * and touch plain memory only.  chatcrypt_transport_wait() sleeps on those sockets
 * (sockets.c) and tells libcurl what happened.
 *
 * Threads: libcurl resolves names in threads of its own.  They inherit the signal
 * mask, so all signals are blocked around every call that may start one, and no
 * handler of PostgreSQL ever runs in a thread.  Nothing is joined at exit: the
 * worker never cleans libcurl up when it ends, and CURLOPT_QUICK_EXIT keeps a
 * canceled transfer from waiting for its look-up.
 *
 * Secrets: libcurl copies headers and reads bodies into buffers of its own, so it
 * is given an allocator that wipes whatever is freed.  Our copies are wiped here.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>

#include "storage/latch.h"

#include "kms/wipingmemory.h"
#include "pg/base/clock.h"
#include "worker/certificates.h"
#include "worker/sockets.h"
#include "worker/transport.h"
#include "worker/watchdog.h"

#define FIRST_REPLY_SIZE	8192
#define CONNECTION_MAX_S	600		/* then a new handshake shows the current certificate */

struct ChatcryptTransfer
{
	CURL	   *easy;
	struct curl_slist *headers;
	ChatcryptTransferDone done;
	void	   *owner;
	uint8	   *body;
	size_t		body_len;
	size_t		body_size;
	bool		too_large;
	char		error[CURL_ERROR_SIZE];
};

static CURLM *multi;
static int	transfers;
static bool renew_wanted;
static bool sees_certificates;	/* libcurl uses the same OpenSSL as we do */
static int64 timer_at_ms = -1;	/* when libcurl must be called; -1 for never */

/* ---------- what libcurl calls: plain memory only ---------- */

/* libcurl asks for a socket, or no longer does.  Returning -1 fails the transfer. */
static int
watch_socket(CURL *easy, curl_socket_t socket, int what, void *arg, void *per_socket)
{
	uint32		events = 0;

	(void) easy;
	(void) arg;
	(void) per_socket;
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= WL_SOCKET_READABLE;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= WL_SOCKET_WRITEABLE;
	return chatcrypt_sockets_watch(socket, events) ? 0 : -1;
}

static int
set_timer(CURLM *handle, long timeout_ms, void *arg)
{
	(void) handle;
	(void) arg;
	timer_at_ms = timeout_ms < 0 ? -1 : chatcrypt_clock_ms() + timeout_ms;
	return 0;
}

/* A result that is less than the bytes given ends the transfer. */
static size_t
receive(char *bytes, size_t size, size_t count, void *arg)
{
	ChatcryptTransfer *transfer = arg;
	size_t		len = size * count;

	if (len > CC_HTTP_REPLY_MAX - transfer->body_len)
	{
		transfer->too_large = true;
		return 0;
	}
	if (len > transfer->body_size - transfer->body_len)
	{
		size_t		larger_size = Max(transfer->body_size * 2, FIRST_REPLY_SIZE);
		uint8	   *larger;

		while (larger_size < transfer->body_len + len)
			larger_size *= 2;
		larger = cc_wiping_realloc(transfer->body, larger_size);
		if (larger == NULL)
			return 0;
		transfer->body = larger;
		transfer->body_size = larger_size;
	}
	memcpy(transfer->body + transfer->body_len, bytes, len);
	transfer->body_len += len;
	return len;
}

static CURLcode
watch_certificates(CURL *easy, void *ssl_ctx, void *arg)
{
	(void) easy;
	chatcrypt_certificates_watch(ssl_ctx, arg);
	return CURLE_OK;
}

/* ---------- threads ---------- */

/* Enclose calls of libcurl that may take long or start a thread. */
static void
enter_libcurl(sigset_t *before)
{
	sigset_t	all;

	sigfillset(&all);
	(void) pthread_sigmask(SIG_SETMASK, &all, before);
	chatcrypt_watchdog_enter("libcurl");
}

static void
leave_libcurl(const sigset_t *before)
{
	chatcrypt_watchdog_leave();
	(void) pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* ---------- transfers ---------- */

static CURLM *
new_multi(void)
{
	CURLM	   *handle = curl_multi_init();

	if (handle == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory for libcurl")));
	curl_multi_setopt(handle, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(handle, CURLMOPT_TIMERFUNCTION, set_timer);
	return handle;
}

void
chatcrypt_transport_start(void)
{
	sigset_t	before;
	CURLcode	result;

	enter_libcurl(&before);
	result = curl_global_init_mem(CURL_GLOBAL_DEFAULT, cc_wiping_malloc, cc_wiping_free,
								  cc_wiping_realloc, cc_wiping_strdup, cc_wiping_calloc);
	leave_libcurl(&before);
	if (result != CURLE_OK)
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not initialize libcurl: %s", curl_easy_strerror(result))));
	sees_certificates =
		chatcrypt_certificates_are_seen(curl_version_info(CURLVERSION_NOW)->ssl_version);
	multi = new_multi();
}

static void
free_transfer(ChatcryptTransfer *transfer)
{
	if (transfer->easy != NULL)
		curl_easy_cleanup(transfer->easy);
	curl_slist_free_all(transfer->headers);
	cc_wiping_free(transfer->body);
	cc_wiping_free(transfer);
}

static bool
add_header(ChatcryptTransfer *transfer, const char *line)
{
	struct curl_slist *longer = curl_slist_append(transfer->headers, line);

	if (longer == NULL)
		return false;
	transfer->headers = longer;
	return true;
}

static bool
add_headers(ChatcryptTransfer *transfer, const cc_http_request *request)
{
	for (int i = 0; i < request->nheaders; i++)
		if (!add_header(transfer, request->headers[i]))
			return false;
	return add_header(transfer, "Expect:");
}

static bool
is_set(const char *file)
{
	return file != NULL && file[0] != '\0';
}

/* The results of setopt are or-ed: CURLE_OK is 0, and any other means that nothing can be sent. */

/*
 * If a CA file is set, only its authorities are trusted.  Distributions also build libcurl
 * with a folder of authorities, which would be searched in addition to the file.  NULL does
 * not switch that folder off in newer versions of libcurl, which then use the built-in
 * folder again, and OpenSSL refuses an empty name; so the folder is set to one that cannot
 * contain anything.
 */
static int
set_authorities(CURL *easy, const char *ca_file)
{
	if (!is_set(ca_file))
		return CURLE_OK;
	return curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file) |
		curl_easy_setopt(easy, CURLOPT_CAPATH, "/dev/null");
}

static int
set_safety(CURL *easy, const ChatcryptTransportConfig *config, const cc_http_tls *tls)
{
	int			failed = 0;

#if LIBCURL_VERSION_NUM >= 0x075500
	failed |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR,
							   config->allow_http ? "https,http" : "https");
#else
	failed |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
							   (long) (CURLPROTO_HTTPS |
									   (config->allow_http ? CURLPROTO_HTTP : 0)));
#endif
	failed |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	failed |= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	failed |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	failed |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	failed |= curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	failed |= curl_easy_setopt(easy, CURLOPT_PROXY, config->proxy);
	failed |= curl_easy_setopt(easy, CURLOPT_NOPROXY, config->proxy[0] == '\0' ? "*" : "");
	failed |= set_authorities(easy, tls->ca_file);
	if (sees_certificates)
	{
		failed |= curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, watch_certificates);
		failed |= curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, config->certificate_not_after);
	}

	/* no TLS session is resumed: that shows no certificate, and so accepts an expired one */
	failed |= curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	if (is_set(tls->cert_file))
		failed |= curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert_file);
	if (is_set(tls->key_file))
		failed |= curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key_file);
#if LIBCURL_VERSION_NUM >= 0x075700
	failed |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	failed |= curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
	return failed;
}

static int
set_request(CURL *easy, ChatcryptTransfer *transfer, const cc_http_request *request,
			int64 connect_timeout_ms, int64 timeout_ms)
{
	int			failed = 0;

	failed |= curl_easy_setopt(easy, CURLOPT_URL, request->url);
	failed |= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	failed |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	failed |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_2TLS);
	failed |= curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
	failed |= curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	failed |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) Max(connect_timeout_ms, 1));
	failed |= curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long) Max(timeout_ms, 1));
	failed |= curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, renew_wanted ? 1L : 0L);
#if LIBCURL_VERSION_NUM >= 0x075000
	failed |= curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long) CONNECTION_MAX_S);
#endif
	failed |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, receive);
	failed |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	failed |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error);
	failed |= curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	if (request->body != NULL)
	{
		failed |= curl_easy_setopt(easy, CURLOPT_POST, 1L);
		failed |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
								   (curl_off_t) request->body_len);
		failed |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
	}
	if (strcmp(request->method, request->body != NULL ? "POST" : "GET") != 0)
		failed |= curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	return failed;
}

ChatcryptTransfer *
chatcrypt_transport_send(const ChatcryptTransportConfig *config, const cc_http_request *request,
						 int64 connect_timeout_ms, int64 timeout_ms,
						 ChatcryptTransferDone done, void *owner, const char **error)
{
	ChatcryptTransfer *transfer = cc_wiping_calloc(1, sizeof(*transfer));
	sigset_t	before;
	bool		sent = false;

	*error = "out of memory";
	if (transfer == NULL)
		return NULL;
	transfer->done = done;
	transfer->owner = owner;

	enter_libcurl(&before);
	transfer->easy = curl_easy_init();
	if (transfer->easy != NULL && add_headers(transfer, request))
	{
		*error =
			"libcurl refuses the request: its address, or a file that is set for it, cannot be "
			"used";
		sent = set_safety(transfer->easy, config, &request->tls) == 0 &&
			set_request(transfer->easy, transfer, request, connect_timeout_ms, timeout_ms) == 0 &&
			curl_multi_add_handle(multi, transfer->easy) == CURLM_OK;
	}
	if (!sent)
		free_transfer(transfer);
	leave_libcurl(&before);

	if (!sent)
		return NULL;
	transfers++;
	return transfer;
}

static void
end_transfer(ChatcryptTransfer *transfer)
{
	sigset_t	before;

	enter_libcurl(&before);
	curl_multi_remove_handle(multi, transfer->easy);
	free_transfer(transfer);
	leave_libcurl(&before);
	transfers--;
}

void
chatcrypt_transport_cancel(ChatcryptTransfer *transfer)
{
	end_transfer(transfer);
}

void
chatcrypt_transport_renew(void)
{
	renew_wanted = true;
}

/*
 * A connection that timed out may be dead and yet be kept: HTTP/2 gives up a stream, not its
 * connection.  So all connections are given up as soon as no transfer uses them; until then
 * new requests make connections of their own.
 */
static void
renew_when_idle(void)
{
	sigset_t	before;

	if (!renew_wanted || transfers > 0)
		return;
	enter_libcurl(&before);
	curl_multi_cleanup(multi);
	leave_libcurl(&before);
	chatcrypt_sockets_forget();
	timer_at_ms = -1;
	renew_wanted = false;
	multi = new_multi();
}

/* ---------- replies ---------- */

static const char *
error_of(const ChatcryptTransfer *transfer, CURLcode result)
{
	if (transfer->too_large)
		return "the reply is larger than 1 MB";

	/* libcurl's own text names the file, and would reach an application. */
	if (result == CURLE_SSL_CACERT_BADFILE)
		return "the CA file that is set for it cannot be read, or holds no certificate";
	if (result == CURLE_SSL_CERTPROBLEM)
		return "the client certificate or its key, as they are set for it, cannot be used";
	if (transfer->error[0] != '\0')
		return transfer->error;
	return curl_easy_strerror(result);
}

static void
hand_over(ChatcryptTransfer *transfer, CURLcode result)
{
	cc_http_reply reply = {.retry_after_ms = -1};
	curl_off_t	retry_after_s = 0;

	if (result != CURLE_OK)
	{
		reply.transport_error = error_of(transfer, result);
		reply.timed_out = result == CURLE_OPERATION_TIMEDOUT;
		if (reply.timed_out)
			renew_wanted = true;
	}
	else
	{
		(void) curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &reply.status);
		if (curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after_s) == CURLE_OK &&
			retry_after_s > 0)
			reply.retry_after_ms = (long) Min(retry_after_s, LONG_MAX / 1000) * 1000;
		reply.body = transfer->body;
		reply.body_len = transfer->body_len;
	}
	transfer->done(transfer->owner, &reply);
}

/* Reading a reply may send new requests, so each is first taken out of libcurl's list. */
static void
hand_over_all(void)
{
	CURLMsg    *message;
	int			left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		ChatcryptTransfer *transfer;
		CURLcode	result = message->data.result;

		if (message->msg != CURLMSG_DONE ||
			curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE,
							  (char **) &transfer) != CURLE_OK)
			continue;
		hand_over(transfer, result);
		end_transfer(transfer);
	}
}

/* ---------- sleeping ---------- */

static void
tell_libcurl(int socket, uint32 events)
{
	sigset_t	before;
	int			what = 0;
	int			running;

	if (events & WL_SOCKET_READABLE)
		what |= CURL_CSELECT_IN;
	if (events & WL_SOCKET_WRITEABLE)
		what |= CURL_CSELECT_OUT;
	enter_libcurl(&before);
	(void) curl_multi_socket_action(multi, socket, what, &running);
	leave_libcurl(&before);
}

static void
run_timer(void)
{
	if (timer_at_ms < 0 || chatcrypt_clock_ms() < timer_at_ms)
		return;
	timer_at_ms = -1;
	tell_libcurl(CURL_SOCKET_TIMEOUT, 0);
}

void
chatcrypt_transport_wait(int64 timeout_ms)
{
	renew_when_idle();
	if (timer_at_ms >= 0)
		timeout_ms = Min(timeout_ms, timer_at_ms - chatcrypt_clock_ms());
	chatcrypt_sockets_wait(timeout_ms, tell_libcurl);
	run_timer();
	hand_over_all();
}
