/*
 * http.c
 *		The memory of requests: headers and bodies carry tokens and keys, so every
 *		byte of them is wiped before it is freed.
 */
#include <stdlib.h>
#include <string.h>

#include "kms/http.h"

void
cc_http_request_clear(cc_http_request *request)
{
	for (int i = 0; i < request->nheaders; i++)
	{
		cc_wipe(request->headers[i], strlen(request->headers[i]));
		free(request->headers[i]);
	}
	if (request->body != NULL)
	{
		cc_wipe(request->body, request->body_len);
		free(request->body);
	}
	memset(request, 0, sizeof(*request));
}

/* A value with a line break could add headers of its own. */
static bool
is_header_text(const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text < 0x20 || *text > 0x7e)
			return false;
	}
	return true;
}

bool
cc_http_request_header(cc_http_request *request, const char *name, const char *value)
{
	size_t		name_len = strlen(name);
	size_t		value_len = strlen(value);
	size_t		len = name_len + 2 + value_len;
	char	   *line;

	if (request->nheaders >= CC_HTTP_HEADERS || len >= CC_HTTP_HEADER_MAX)
		return false;
	if (!is_header_text(name) || !is_header_text(value))
		return false;
	line = malloc(len + 1);
	if (line == NULL)
		return false;
	memcpy(line, name, name_len);
	memcpy(line + name_len, ": ", 2);
	memcpy(line + name_len + 2, value, value_len + 1);
	request->headers[request->nheaders++] = line;
	return true;
}
