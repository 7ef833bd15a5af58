/*
 * fuzz_kms_uri.c
 *		Key URIs: what is accepted as one leads to a path of its own provider, and
 *		nowhere else.
 *
 * Input: the URI, up to its first NUL.
 */
#include "fuzz.h"
#include "kms/providers.h"
#include "kms/vault/settings.h"

#define ADDR "https://vault.example"

static cc_kms_session *
session(void)
{
	static cc_kms_session *opened;
	cc_kms_value values[VAULT_SETTINGS] = {
		[VAULT_ADDR] = {.text = ADDR},
		[VAULT_CERT_ROLE] = {.text = "r"},
		[VAULT_CERT_MOUNT] = {.text = "cert"},
	};
	cc_kms_config config = {.values = values};
	char		error[CC_KMS_ERROR_MAX];

	if (opened == NULL)
		opened = cc_kms_vault.open(&config, error);
	DEMAND(opened != NULL);
	return opened;
}

/* The path of a request, as a server would take it apart. */
static void
check_path(const char *url)
{
	const char *path = url + strlen(ADDR "/v1/");

	DEMAND(strncmp(url, ADDR "/v1/", strlen(ADDR "/v1/")) == 0);
	DEMAND(strpbrk(path, "?#%\\@: \t\r\n") == NULL);
	DEMAND(strstr(path, "//") == NULL && strstr(path, "/.") == NULL && strstr(path, "./") == NULL);
	DEMAND(*path != '/' && *path != '.' && path[strlen(path) - 1] != '/');
	DEMAND(strncmp(path, "sys/", 4) != 0 && strncmp(path, "auth/", 5) != 0);
	DEMAND(strstr(path, "/keys/") != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_bytes	uri = fuzz_alloc(size + 1, 0);
	const cc_kms_provider *provider;
	cc_http_request request;
	char		error[CC_KMS_ERROR_MAX] = "";
	cc_kms_outcome outcome;

	memcpy(uri.data, data, size);
	provider = cc_kms_provider_for((const char *) uri.data);
	outcome = cc_kms_vault.key_request(session(), (const char *) uri.data, &request, error);
	if (provider == &cc_kms_vault && provider->check_uri((const char *) uri.data) == CC_OK)
	{
		DEMAND(outcome == CC_KMS_OK);
		check_path(request.url);
	}
	else
		DEMAND(outcome == CC_KMS_CONFIG && strlen(error) < CC_KMS_ERROR_MAX);
	if (provider == &cc_kms_local && provider->check_uri((const char *) uri.data) == CC_OK)
		DEMAND(strpbrk((const char *) uri.data, "/.") == NULL);
	cc_http_request_clear(&request);
	fuzz_free(uri);
	return 0;
}
