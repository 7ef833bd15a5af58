/*
 * coretool.c
 *		The core behind a line protocol, so that another implementation of the
 *		formats can be checked against it in both directions.
 *
 * A request is one line: `command key=value ...`.  Bytes are hex, `-` where empty;
 * ids may have a uuid's dashes; numbers are decimal; purpose and kind are text.
 * The answer is one line: `ok field=value ...` or `err STATUS`.
 *
 *	envelope_seal dek chat version message salt aad plaintext -> envelope
 *	envelope_open dek chat version message aad envelope -> plaintext
 *	inspect envelope -> suite version plaintext_len
 *	row_aad created_at has_sender sender -> aad
 *	kcv dek chat version -> kcv
 *	context deployment chat purpose version -> context
 *	blind dek chat version kind token bits -> token
 *	part_seal dek chat version file part last aad salt plaintext -> sealed
 *	part_open dek chat version file part last aad sealed -> plaintext
 *	chunked_open key context sealed -> plaintext
 *	secretbox_seal dek version nonce plaintext -> message
 *	secretbox_open dek version message -> plaintext
 *	local_seal master master_version context salt dek -> wrapped
 *	local_open master master_version context wrapped -> dek
 *	id space number -> id
 *	id_back id -> space number
 *
 * A test tool: it does not wipe what it is given.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/attachment.h"
#include "core/blind.h"
#include "core/envelope.h"
#include "core/id.h"
#include "core/localwrap.h"
#include "core/rowaad.h"
#include "core/secretbox.h"

#define MAX_FIELDS 16

typedef struct field
{
	const char *key;
	const char *text;
	uint8_t    *bytes;			/* what get_bytes() made of it */
} field;

typedef struct request
{
	field		fields[MAX_FIELDS];
	int			nfields;
	bool		bad;			/* something is missing or malformed */
	const char *bad_key;
} request;

typedef struct command
{
	const char *name;
	cc_status	(*run) (request *req);
} command;

static cc_aead *aead;

static const char *
get_text(request *req, const char *key)
{
	for (int i = 0; i < req->nfields; i++)
		if (strcmp(req->fields[i].key, key) == 0)
			return req->fields[i].text;
	req->bad = true;
	req->bad_key = key;
	return "";
}

/* The result is never NULL; it is freed with the request. */
static uint8_t *
get_bytes(request *req, const char *key, size_t *len)
{
	const char *text = get_text(req, key);
	char	   *hex = malloc(strlen(text) + 1);
	size_t		hex_len = 0;
	uint8_t    *bytes;

	if (hex == NULL)
		abort();
	for (const char *c = text; *c != '\0'; c++)
		if (*c != '-')
			hex[hex_len++] = *c;
	*len = hex_len / 2;
	bytes = malloc(*len > 0 ? *len : 1);
	if (bytes == NULL)
		abort();
	if (cc_hex_decode(hex, hex_len, bytes, *len) != CC_OK)
	{
		req->bad = true;
		req->bad_key = key;
	}
	free(hex);
	for (int i = 0; i < req->nfields; i++)
		if (strcmp(req->fields[i].key, key) == 0)
		{
			free(req->fields[i].bytes);
			req->fields[i].bytes = bytes;
			return bytes;
		}
	free(bytes);
	return (uint8_t *) "";
}

/* Exactly len bytes; zeroes where the request does not have them. */
static void
get_exact(request *req, const char *key, uint8_t *out, size_t len)
{
	size_t		found;
	uint8_t    *bytes = get_bytes(req, key, &found);

	memset(out, 0, len);
	if (found == len)
		memcpy(out, bytes, len);
	else
	{
		req->bad = true;
		req->bad_key = key;
	}
}

static int64_t
get_number(request *req, const char *key)
{
	const char *text = get_text(req, key);
	char	   *end;
	int64_t		number = strtoll(text, &end, 10);

	if (*text == '\0' || *end != '\0')
	{
		req->bad = true;
		req->bad_key = key;
	}
	return number;
}

static uint32_t
get_version(request *req, const char *key)
{
	return (uint32_t) get_number(req, key);
}

static uint8_t *
room(size_t len)
{
	uint8_t    *bytes = malloc(len > 0 ? len : 1);

	if (bytes == NULL)
		abort();
	return bytes;
}

static void
reply_bytes(const char *key, const uint8_t *bytes, size_t len)
{
	char	   *hex = malloc(2 * len + 1);

	if (hex == NULL)
		abort();
	cc_hex_encode(bytes, len, hex);
	hex[2 * len] = '\0';
	printf("ok %s=%s\n", key, len > 0 ? hex : "-");
	free(hex);
}

/* Sends the reply if no error occurred; frees bytes. */
static cc_status
finish(cc_status status, const char *key, uint8_t *bytes, size_t len)
{
	if (status == CC_OK)
		reply_bytes(key, bytes, len);
	free(bytes);
	return status;
}

/* The keys of the dek, chat and version of a request. */
static cc_status
get_keys(request *req, cc_message_keys *keys)
{
	uint8_t		dek[CC_DEK_LEN];
	uint8_t		chat[CC_ID_LEN];

	get_exact(req, "dek", dek, sizeof(dek));
	get_exact(req, "chat", chat, sizeof(chat));
	return cc_message_keys_derive(keys, dek, chat, get_version(req, "version"));
}

static cc_status
get_key(request *req, cc_key_use use, uint8_t out[CC_DEK_LEN])
{
	uint8_t		dek[CC_DEK_LEN];
	uint8_t		chat[CC_ID_LEN];

	get_exact(req, "dek", dek, sizeof(dek));
	get_exact(req, "chat", chat, sizeof(chat));
	return cc_dek_derive(dek, chat, get_version(req, "version"), use, out);
}

static cc_status
run_envelope_seal(request *req)
{
	cc_message_keys keys;
	uint8_t		message[CC_ID_LEN];
	uint8_t		salt[CC_SALT_LEN];
	size_t		aad_len;
	size_t		len;
	uint8_t    *aad = get_bytes(req, "aad", &aad_len);
	uint8_t    *plaintext = get_bytes(req, "plaintext", &len);
	uint8_t    *envelope;
	cc_status	status = get_keys(req, &keys);

	get_exact(req, "message", message, sizeof(message));
	get_exact(req, "salt", salt, sizeof(salt));
	if (status != CC_OK || req->bad)
		return status;
	envelope = room(len + CC_ENVELOPE_OVERHEAD);
	status = cc_envelope_seal_salted(aead, &keys, get_version(req, "version"), message, salt, aad,
									 aad_len, plaintext, len, envelope);
	return finish(status, "envelope", envelope, len + CC_ENVELOPE_OVERHEAD);
}

static cc_status
run_envelope_open(request *req)
{
	cc_message_keys keys;
	uint8_t		message[CC_ID_LEN];
	size_t		aad_len;
	size_t		len;
	uint8_t    *aad = get_bytes(req, "aad", &aad_len);
	uint8_t    *envelope = get_bytes(req, "envelope", &len);
	size_t		plaintext_len = len > CC_ENVELOPE_OVERHEAD ? len - CC_ENVELOPE_OVERHEAD : 0;
	uint8_t    *plaintext;
	cc_status	status = get_keys(req, &keys);

	get_exact(req, "message", message, sizeof(message));
	if (status != CC_OK || req->bad)
		return status;
	plaintext = room(plaintext_len);
	status = cc_envelope_open(aead, &keys, get_version(req, "version"), message, aad, aad_len,
							  envelope, len, plaintext);
	return finish(status, "plaintext", plaintext, plaintext_len);
}

static cc_status
run_inspect(request *req)
{
	size_t		len;
	uint8_t    *envelope = get_bytes(req, "envelope", &len);
	cc_envelope_info info;
	cc_status	status = cc_envelope_inspect(envelope, len, &info);

	if (status == CC_OK && !req->bad)
		printf("ok suite=%u version=%" PRIu32 " plaintext_len=%zu\n",
			   info.suite, info.dek_version, info.plaintext_len);
	return status;
}

static cc_status
run_row_aad(request *req)
{
	int64_t		created_at = get_number(req, "created_at");
	bool		has_sender = get_number(req, "has_sender") != 0;
	size_t		len;
	uint8_t    *sender = get_bytes(req, "sender", &len);
	uint8_t    *aad = room(CC_ROW_AAD_FIXED_LEN + len);
	cc_status	status = cc_row_aad_write(created_at, has_sender ? sender : NULL, len, aad);

	return finish(req->bad ? CC_ERR_ARGUMENT : status, "aad", aad, CC_ROW_AAD_FIXED_LEN + len);
}

static cc_status
run_kcv(request *req)
{
	uint8_t		kcv[CC_KCV_LEN];
	cc_status	status = get_key(req, CC_USE_KCV, kcv);

	if (status == CC_OK && !req->bad)
		reply_bytes("kcv", kcv, sizeof(kcv));
	return status;
}

static cc_status
run_context(request *req)
{
	uint8_t		deployment[CC_ID_LEN];
	uint8_t		chat[CC_ID_LEN];
	uint8_t		context[CC_CONTEXT_LEN];
	cc_status	status;

	get_exact(req, "deployment", deployment, sizeof(deployment));
	get_exact(req, "chat", chat, sizeof(chat));
	status = cc_wrap_context(deployment, chat, get_text(req, "purpose"),
							 get_version(req, "version"), context);
	if (status == CC_OK && !req->bad)
		reply_bytes("context", context, sizeof(context));
	return status;
}

static cc_status
run_blind(request *req)
{
	uint8_t		search[CC_DEK_LEN];
	uint8_t		out[CC_BLIND_LEN];
	cc_hmac_key key;
	size_t		len;
	uint8_t    *token = get_bytes(req, "token", &len);
	cc_blind_kind kind = (cc_blind_kind) get_text(req, "kind")[0];
	cc_status	status = get_key(req, CC_USE_SEARCH, search);

	if (status != CC_OK)
		return status;
	cc_hmac_key_init(&key, search, sizeof(search));
	status = cc_blind_token(&key, kind, (const char *) token, len, (int) get_number(req, "bits"),
							out);
	if (status == CC_OK && !req->bad)
		reply_bytes("token", out, sizeof(out));
	return status;
}

/* file holds the bytes of the id. */
static cc_part_id
get_part_id(request *req, uint8_t file[CC_ID_LEN])
{
	cc_part_id	id;

	get_exact(req, "file", file, CC_ID_LEN);
	id.file_id = file;
	id.part = get_version(req, "part");
	id.last = get_number(req, "last") != 0;
	id.aad = get_bytes(req, "aad", &id.aad_len);
	return id;
}

static cc_status
run_part_seal(request *req)
{
	uint8_t		file[CC_ID_LEN];
	uint8_t		salt[CC_CHUNK_SALT_LEN];
	uint8_t		key[CC_DEK_LEN];
	cc_part_id	id = get_part_id(req, file);
	size_t		len;
	size_t		sealed_len;
	uint8_t    *plaintext = get_bytes(req, "plaintext", &len);
	uint8_t    *sealed;
	cc_status	status = get_key(req, CC_USE_ATTACHMENT, key);

	get_exact(req, "salt", salt, sizeof(salt));
	if (status == CC_OK)
		status = cc_part_sealed_len(len, &sealed_len);
	if (status != CC_OK || req->bad)
		return status;
	sealed = room(sealed_len);
	status = cc_part_seal_salted(aead, key, get_version(req, "version"), &id, salt, plaintext, len,
								 sealed);
	return finish(status, "sealed", sealed, sealed_len);
}

static cc_status
run_part_open(request *req)
{
	uint8_t		file[CC_ID_LEN];
	uint8_t		key[CC_DEK_LEN];
	cc_part_id	id = get_part_id(req, file);
	size_t		sealed_len;
	size_t		len = 0;
	uint8_t    *sealed = get_bytes(req, "sealed", &sealed_len);
	uint8_t    *plaintext;
	cc_status	status = get_key(req, CC_USE_ATTACHMENT, key);

	if (status != CC_OK || req->bad)
		return status;

	/* An impossible length is for cc_part_open_all to refuse, after suite and version. */
	if (cc_part_plaintext_len(sealed_len, &len) != CC_OK)
		len = 0;
	plaintext = room(len);
	status = cc_part_open_all(aead, key, get_version(req, "version"), &id, sealed, sealed_len,
							  plaintext);
	return finish(status, "plaintext", plaintext, len);
}

static cc_status
run_chunked_open(request *req)
{
	uint8_t		key[CC_DEK_LEN];
	size_t		context_len;
	size_t		sealed_len;
	size_t		len = 0;
	uint8_t    *context = get_bytes(req, "context", &context_len);
	uint8_t    *sealed = get_bytes(req, "sealed", &sealed_len);
	uint8_t    *plaintext;
	cc_status	status;

	get_exact(req, "key", key, sizeof(key));
	if (req->bad)
		return CC_ERR_ARGUMENT;

	/* As above. */
	if (cc_part_plaintext_len(CC_HEADER_LEN + sealed_len, &len) != CC_OK)
		len = 0;
	plaintext = room(len);
	status = cc_chunked_open_all(aead, key, context, context_len, sealed, sealed_len, plaintext);
	return finish(status, "plaintext", plaintext, len);
}

static cc_status
run_secretbox_seal(request *req)
{
	uint8_t		dek[CC_DEK_LEN];
	uint8_t		nonce[CC_SECRETBOX_NONCE_LEN];
	size_t		len;
	uint8_t    *plaintext = get_bytes(req, "plaintext", &len);
	uint8_t    *message;
	cc_status	status;

	get_exact(req, "dek", dek, sizeof(dek));
	get_exact(req, "nonce", nonce, sizeof(nonce));
	if (req->bad)
		return CC_OK;
	message = room(len + CC_SECRETBOX_OVERHEAD);
	status = cc_secretbox_seal_nonce(dek, get_version(req, "version"), nonce, plaintext, len,
									 message);
	return finish(status, "message", message, len + CC_SECRETBOX_OVERHEAD);
}

static cc_status
run_secretbox_open(request *req)
{
	uint8_t		dek[CC_DEK_LEN];
	size_t		len;
	uint8_t    *message = get_bytes(req, "message", &len);
	size_t		plaintext_len = len > CC_SECRETBOX_OVERHEAD ? len - CC_SECRETBOX_OVERHEAD : 0;
	uint8_t    *plaintext;
	cc_status	status;

	get_exact(req, "dek", dek, sizeof(dek));
	if (req->bad)
		return CC_OK;
	plaintext = room(plaintext_len);
	status = cc_secretbox_open(dek, get_version(req, "version"), message, len, plaintext);
	return finish(status, "plaintext", plaintext, plaintext_len);
}

static cc_status
run_local_seal(request *req)
{
	uint8_t		master[32];
	uint8_t		context[CC_CONTEXT_LEN];
	uint8_t		salt[CC_LOCALWRAP_SALT_LEN];
	uint8_t		dek[CC_DEK_LEN];
	uint8_t		wrapped[CC_LOCALWRAP_LEN];
	cc_status	status;

	get_exact(req, "master", master, sizeof(master));
	get_exact(req, "context", context, sizeof(context));
	get_exact(req, "salt", salt, sizeof(salt));
	get_exact(req, "dek", dek, sizeof(dek));
	status = cc_localwrap_seal_salted(aead, master, get_version(req, "master_version"), context,
									  salt, dek, wrapped);
	if (status == CC_OK && !req->bad)
		reply_bytes("wrapped", wrapped, sizeof(wrapped));
	return status;
}

static cc_status
run_local_open(request *req)
{
	uint8_t		master[32];
	uint8_t		context[CC_CONTEXT_LEN];
	uint8_t		dek[CC_DEK_LEN];
	size_t		len;
	uint8_t    *wrapped = get_bytes(req, "wrapped", &len);
	cc_status	status;

	get_exact(req, "master", master, sizeof(master));
	get_exact(req, "context", context, sizeof(context));
	status = cc_localwrap_open(aead, master, get_version(req, "master_version"), context, wrapped,
							   len, dek);
	if (status == CC_OK && !req->bad)
		reply_bytes("dek", dek, sizeof(dek));
	return status;
}

static cc_status
run_id(request *req)
{
	uint8_t		id[CC_ID_LEN];
	cc_status	status = cc_id_from_int64((uint64_t) get_number(req, "space"),
										  get_number(req, "number"), id);

	if (status == CC_OK && !req->bad)
		reply_bytes("id", id, sizeof(id));
	return status;
}

static cc_status
run_id_back(request *req)
{
	uint8_t		id[CC_ID_LEN];
	uint64_t	space;
	int64_t		number;

	get_exact(req, "id", id, sizeof(id));
	if (!cc_id_to_int64(id, &space, &number))
		return CC_ERR_SYNTAX;
	if (!req->bad)
		printf("ok space=%" PRIu64 " number=%" PRId64 "\n", space, number);
	return CC_OK;
}

static const command commands[] = {
	{"envelope_seal", run_envelope_seal},
	{"envelope_open", run_envelope_open},
	{"inspect", run_inspect},
	{"row_aad", run_row_aad},
	{"kcv", run_kcv},
	{"context", run_context},
	{"blind", run_blind},
	{"part_seal", run_part_seal},
	{"part_open", run_part_open},
	{"chunked_open", run_chunked_open},
	{"secretbox_seal", run_secretbox_seal},
	{"secretbox_open", run_secretbox_open},
	{"local_seal", run_local_seal},
	{"local_open", run_local_open},
	{"id", run_id},
	{"id_back", run_id_back},
};

static const char *
status_name(cc_status status)
{
	static const char *const names[] = {
		[CC_OK] = "OK",
		[CC_ERR_TRUNCATED] = "TRUNCATED",
		[CC_ERR_TRAILING] = "TRAILING",
		[CC_ERR_SUITE] = "SUITE",
		[CC_ERR_VERSION] = "VERSION",
		[CC_ERR_TOO_LARGE] = "TOO_LARGE",
		[CC_ERR_SYNTAX] = "SYNTAX",
		[CC_ERR_ARGUMENT] = "ARGUMENT",
		[CC_ERR_AUTH] = "AUTH",
		[CC_ERR_RANDOM] = "RANDOM",
		[CC_ERR_NO_MEMORY] = "NO_MEMORY",
		[CC_ERR_CRYPTO] = "CRYPTO",
		[CC_ERR_NO_KEY] = "NO_KEY",
		[CC_ERR_FILE] = "FILE"
	};

	return names[status];
}

static void
run_line(char *line)
{
	request		req = {.nfields = 0};
	const char *name = strtok(line, " \n");

	if (name == NULL)
		return;
	while (req.nfields < MAX_FIELDS)
	{
		char	   *word = strtok(NULL, " \n");
		char	   *equals = word == NULL ? NULL : strchr(word, '=');

		if (equals == NULL)
			break;
		*equals = '\0';
		req.fields[req.nfields].key = word;
		req.fields[req.nfields].text = equals + 1;
		req.nfields++;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
	{
		cc_status	status;

		if (strcmp(commands[i].name, name) != 0)
			continue;
		status = commands[i].run(&req);
		if (req.bad)
			printf("err REQUEST %s\n", req.bad_key);
		else if (status != CC_OK)
			printf("err %s\n", status_name(status));
		for (int f = 0; f < req.nfields; f++)
			free(req.fields[f].bytes);
		return;
	}
	printf("err COMMAND\n");
}

int
main(void)
{
	char	   *line = NULL;
	size_t		capacity = 0;

	aead = cc_aead_new(CC_AEAD_AUTO);
	if (aead == NULL)
		return 1;
	while (getline(&line, &capacity, stdin) > 0)
	{
		run_line(line);
		fflush(stdout);
	}
	free(line);
	cc_aead_free(aead);
	return 0;
}
