/*
 * fuzz_base64.c
 *		Base64 in and out.  Input: the text, or the bytes.
 */
#include "core/base64.h"
#include "fuzz.h"

/* A text that decodes is the only text of its bytes: encoding them gives it again. */
static void
decode_and_back(fuzz_bytes text)
{
	fuzz_bytes	out = fuzz_alloc(CC_BASE64_BYTES_MAX(text.len), 0xaa);
	size_t		len;

	if (cc_base64_decode((const char *) text.data, text.len, out.data, out.len, &len) == CC_OK)
	{
		fuzz_bytes	again = fuzz_alloc(CC_BASE64_TEXT_LEN(len) + 1, 0);

		DEMAND(len <= out.len && CC_BASE64_TEXT_LEN(len) == text.len);
		cc_base64_encode(out.data, len, (char *) again.data);
		DEMAND(text.len == 0 || memcmp(again.data, text.data, text.len) == 0);
		fuzz_free(again);
	}
	fuzz_free(out);
}

static void
encode_and_back(fuzz_bytes bytes)
{
	fuzz_bytes	text = fuzz_alloc(CC_BASE64_TEXT_LEN(bytes.len) + 1, 0xaa);
	fuzz_bytes	back = fuzz_alloc(bytes.len, 0);
	size_t		len;

	cc_base64_encode(bytes.data, bytes.len, (char *) text.data);
	DEMAND(strlen((char *) text.data) == text.len - 1);
	DEMAND(cc_base64_decode((char *) text.data, text.len - 1, back.data, back.len, &len) == CC_OK);
	DEMAND(len == bytes.len && fuzz_same(back, bytes));
	fuzz_free(text);
	fuzz_free(back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_input	input = {data, size};
	fuzz_bytes	all = fuzz_rest(&input);

	decode_and_back(all);
	encode_and_back(all);
	fuzz_free(all);
	return 0;
}
