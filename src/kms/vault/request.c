/*
 * request.c
 *		How a request to Vault or OpenBao begins and ends; see request.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kms/errtext.h"
#include "kms/vault/request.h"

/* Vault can be set to refuse requests without this header, against forged requests. */
static bool
add_headers(const vault_session *session, cc_http_request *request, const char *token, bool body)
{
	return cc_http_request_header(request, "X-Vault-Request", "true") &&
		(token[0] == '\0' || cc_http_request_header(request, "X-Vault-Token", token)) &&
		(session->name_space[0] == '\0' ||
		 cc_http_request_header(request, "X-Vault-Namespace", session->name_space)) &&
		cc_http_request_header(request, "Accept", "application/json") &&
		(!body || cc_http_request_header(request, "Content-Type", "application/json"));
}

cc_kms_outcome
vault_request_begin(const vault_session *session, cc_http_request *request, const char *method,
					const char *path, const char *token, size_t body_size, cc_writer *writer,
					char error[CC_KMS_ERROR_MAX])
{
	int			url_len;

	memset(request, 0, sizeof(*request));
	request->method = method;
	request->login = session->login;
	request->tls = session->tls;
	url_len = snprintf(request->url, sizeof(request->url), "%s/v1/%s", session->addr, path);
	if (url_len < 0 || (size_t) url_len >= sizeof(request->url))
	{
		cc_kms_say(error, "the address of the request is too long");
		return CC_KMS_CONFIG;
	}
	if (body_size > 0)
		request->body = malloc(body_size);
	if (!add_headers(session, request, token, body_size > 0) ||
		(body_size > 0 && request->body == NULL))
	{
		cc_http_request_clear(request);
		cc_kms_say(error, "out of memory");
		return CC_KMS_TRANSIENT;
	}
	*writer = cc_writer_init(request->body, body_size);
	return CC_KMS_OK;
}

cc_kms_outcome
vault_request_end(cc_http_request *request, size_t body_size, const cc_writer *writer,
				  char error[CC_KMS_ERROR_MAX])
{
	/* the whole length at first, so that clearing the request wipes all of the body */
	request->body_len = body_size;
	if (cc_writer_ok(writer))
	{
		request->body_len = body_size - writer->left;
		return CC_KMS_OK;
	}
	cc_http_request_clear(request);
	cc_kms_say(error, "the request is too long");
	return CC_KMS_CONFIG;
}
