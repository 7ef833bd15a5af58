/*
 * fuzz_kms_vault_reply.c
 *		Whatever a server sends in answer to a login, a key check or a batch: no
 *		crash, an outcome for each item, and nothing of another form is believed.
 *
 * Input: what was asked (a login; a key check; then by operation a batch), number
 * of items, u16 status, and the body.
 */
#include "fuzz.h"
#include "kms/providers.h"
#include "kms/vault/settings.h"

#define ITEMS_MAX	4
#define WRAPPED		"vault:v1:YG/xTXXHTPocDJUyll0y3yCtw85wnLntVxG1y9BaLl18uJeN+rLeXRDOapqq/9FZgzR5o9I0ieyd/qp4"
#define URI			"vault:transit/chat"

static const char login[] =
	"{\"auth\":{\"client_token\":\"t\",\"lease_duration\":60,\"renewable\":true}}";

static void
check_text(const char *text)
{
	for (size_t i = 0; i < CC_KMS_ERROR_MAX; i++)
	{
		if (text[i] == '\0')
			return;
		DEMAND(text[i] >= 0x20 && text[i] <= 0x7e);
	}
	DEMAND(!"an error text without its end");
}

static cc_kms_session *
new_session(void)
{
	cc_kms_value values[VAULT_SETTINGS] = {
		[VAULT_ADDR] = {.text = "https://vault.example"},
		[VAULT_CERT_ROLE] = {.text = "r"},
		[VAULT_CERT_MOUNT] = {.text = "cert"},
	};
	cc_kms_config config = {.values = values};
	char		error[CC_KMS_ERROR_MAX];
	cc_kms_session *session = cc_kms_vault.open(&config, error);

	DEMAND(session != NULL);
	return session;
}

/* Makes whatever request is due, and gives it this reply. */
static cc_kms_outcome
exchange(cc_kms_session *session, const cc_http_reply *reply, int64_t now_ms)
{
	cc_http_request request;
	char		error[CC_KMS_ERROR_MAX] = "";
	cc_kms_outcome outcome;

	DEMAND(cc_kms_vault.session_request(session, &request, now_ms, error) == CC_KMS_OK);
	cc_http_request_clear(&request);
	outcome = cc_kms_vault.session_reply(session, reply, now_ms, error);
	check_text(error);
	DEMAND(outcome != CC_KMS_LOGIN_AGAIN && outcome != CC_KMS_SPLIT && outcome != CC_KMS_REJECTED);
	return outcome;
}

/* A login, and then a renewal, with the same reply. */
static void
answer_session(const cc_http_reply *reply)
{
	cc_kms_session *session = new_session();
	cc_http_request request;
	char		error[CC_KMS_ERROR_MAX];

	if (exchange(session, reply, 0) == CC_KMS_OK)
	{
		DEMAND(cc_kms_vault.session_state(session, 0) == CC_SESSION_READY);
		DEMAND(cc_kms_vault.session_lease_ms(session, 0) >= -1);
		/* the token that it accepted is one that a header can carry */
		DEMAND(cc_kms_vault.key_request(session, URI, &request, error) == CC_KMS_OK);
		DEMAND(request.nheaders == 3 && strpbrk(request.headers[1], "\r\n") == NULL);
		cc_http_request_clear(&request);
		(void) exchange(session, reply, 1000);
	}
	else
		DEMAND(cc_kms_vault.session_state(session, 0) == CC_SESSION_EXCHANGE);
	cc_kms_vault.close(session);
}

static cc_kms_session *
logged_in(void)
{
	cc_kms_session *session = new_session();
	cc_http_reply reply = {.status = 200, .body = (const uint8_t *) login, .body_len = strlen(login)};

	DEMAND(exchange(session, &reply, 0) == CC_KMS_OK);
	return session;
}

static void
answer_key(const cc_http_reply *reply)
{
	cc_kms_session *session = logged_in();
	cc_kms_key_facts facts;
	char		error[CC_KMS_ERROR_MAX] = "";
	cc_kms_outcome outcome = cc_kms_vault.key_reply(session, URI, reply, false, &facts, error);

	check_text(error);
	cc_kms_vault.request_id(reply, error);
	check_text(error);
	DEMAND(outcome != CC_KMS_SPLIT);
	if (outcome == CC_KMS_OK)
		DEMAND(reply->status == 200 && facts.known && facts.derived && !facts.exportable);
	cc_kms_vault.close(session);
}

static bool
is_ours(const cc_kms_item *item)
{
	return item->wrapped_len == strlen(WRAPPED) && memcmp(item->wrapped, WRAPPED, strlen(WRAPPED)) == 0;
}

static void
check_item(cc_kms_op op, const cc_kms_item *item)
{
	bool		wiped = fuzz_wiped((fuzz_bytes) {(uint8_t *) item->dek, CC_DEK_LEN});

	check_text(item->error);
	DEMAND(item->outcome == CC_KMS_OK || item->outcome == CC_KMS_REJECTED ||
		   item->outcome == CC_KMS_NOT_OPENED || item->outcome == CC_KMS_NO_KEY ||
		   item->outcome == CC_KMS_BAD_REPLY || item->outcome == CC_KMS_TRANSIENT);
	if (item->outcome == CC_KMS_OK)
	{
		DEMAND(item->wrapped_len >= 80 && item->wrapped_len <= CC_KMS_WRAPPED_MAX);
		DEMAND(memcmp(item->wrapped, "vault:v", 7) == 0);
		return;
	}
	DEMAND(item->error[0] != '\0');
	if (op == CC_KMS_UNWRAP || op == CC_KMS_GENERATE)
		DEMAND(wiped);
	if (op == CC_KMS_UNWRAP || op == CC_KMS_REWRAP)
		DEMAND(is_ours(item));
}

static void
answer_batch(cc_kms_op op, int nitems, const cc_http_reply *reply)
{
	cc_kms_session *session = logged_in();
	cc_kms_item items[ITEMS_MAX];
	cc_kms_item *pointers[ITEMS_MAX];
	cc_kms_batch batch = {.op = op, .kms_key = URI, .items = pointers, .nitems = nitems};
	char		error[CC_KMS_ERROR_MAX] = "";
	cc_kms_outcome outcome;

	memset(items, 0, sizeof(items));
	for (int i = 0; i < nitems; i++)
	{
		pointers[i] = &items[i];
		items[i].outcome = CC_KMS_LOGIN_AGAIN;	/* which no item ever has */
		memset(items[i].dek, op == CC_KMS_UNWRAP ? 0 : 'x', CC_DEK_LEN);
		if (op == CC_KMS_UNWRAP || op == CC_KMS_REWRAP)
		{
			items[i].wrapped_len = (uint16_t) strlen(WRAPPED);
			memcpy(items[i].wrapped, WRAPPED, strlen(WRAPPED));
		}
	}
	outcome = cc_kms_vault.batch_reply(session, &batch, reply, error);
	check_text(error);
	for (int i = 0; i < nitems; i++)
	{
		if (outcome == CC_KMS_OK)
			check_item(op, &items[i]);
		else if (op == CC_KMS_UNWRAP || op == CC_KMS_GENERATE)
			DEMAND(fuzz_wiped((fuzz_bytes) {items[i].dek, CC_DEK_LEN}));
	}
	cc_kms_vault.close(session);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_input	input = {data, size};
	unsigned	asked = (unsigned) fuzz_number(&input, 1) % 6;
	int			nitems = 1 + (int) (fuzz_number(&input, 1) % ITEMS_MAX);
	long		status = (long) fuzz_number(&input, 2);
	fuzz_bytes	body = fuzz_rest(&input);
	cc_http_reply reply = {.status = status, .retry_after_ms = -1, .body = body.data,
	.body_len = body.len};

	if (status == 0)
		reply.transport_error = "it is said that \x1b the line is dead";
	if (asked == 0)
		answer_session(&reply);
	else if (asked == 1)
		answer_key(&reply);
	else
		answer_batch((cc_kms_op) (asked - 2), nitems, &reply);
	fuzz_free(body);
	return 0;
}
