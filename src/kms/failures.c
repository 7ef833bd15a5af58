/*
 * failures.c
 *		A direct-mapped table of refusals; a collision forgets the older one, which
 *		costs a call and nothing else.
 */
#include "kms/failures.h"

#include <string.h>

typedef struct Entry
{
	cc_failure_key key;
	cc_failure failure;
} Entry;

static Entry entries[CC_FAILURES];

void
cc_failure_key_of(cc_failure_key *key, cc_kms_op op, const char *kms_key, const cc_kms_item *item)
{
	uint8_t		bytes[1 + CC_KMS_URI_MAX + CC_CONTEXT_LEN + CC_KMS_WRAPPED_MAX];
	cc_writer	writer = cc_writer_init(bytes, sizeof(bytes));

	cc_write_u8(&writer, (uint8_t) op);
	cc_write_bytes(&writer, kms_key, strlen(kms_key) + 1);
	cc_write_bytes(&writer, item->context, CC_CONTEXT_LEN);
	cc_write_bytes(&writer, item->wrapped, item->wrapped_len);
	cc_sha256(bytes, sizeof(bytes) - writer.left, key->digest);
}

static Entry *
entry_of(const cc_failure_key *key)
{
	uint32_t	hash;

	memcpy(&hash, key->digest, sizeof(hash));
	return &entries[hash % CC_FAILURES];
}

void
cc_failures_put(const cc_failure_key *key, cc_kms_outcome outcome,
				const char *error, int64_t now_ms)
{
	Entry	   *entry = entry_of(key);

	entry->key = *key;
	entry->failure.outcome = outcome;
	entry->failure.until_ms = now_ms + CC_FAILURE_MS;
	strncpy(entry->failure.error, error, CC_KMS_ERROR_MAX - 1);
	entry->failure.error[CC_KMS_ERROR_MAX - 1] = '\0';
}

const cc_failure *
cc_failures_get(const cc_failure_key *key, int64_t now_ms)
{
	Entry	   *entry = entry_of(key);

	if (now_ms >= entry->failure.until_ms || memcmp(&entry->key, key, sizeof(*key)) != 0)
		return NULL;
	return &entry->failure;
}

void
cc_failures_clear(void)
{
	memset(entries, 0, sizeof(entries));
}
