/*
 * fuzz_kms_json.c
 *		The JSON reader: whatever it accepts can be walked from end to end, and each
 *		string in it can be written and read back.
 *
 * Input: the text.
 */
#include "fuzz.h"
#include "kms/json.h"

/* A string that is written anew reads the same. */
static void
write_and_read(const char *text, size_t len)
{
	fuzz_bytes	written = fuzz_alloc(6 * len + 2, 0);
	fuzz_bytes	again = fuzz_alloc(len + 1, 0xaa);
	cc_writer	w = cc_writer_init(written.data, written.len);
	cc_json		root;
	size_t		again_len;

	cc_json_put_string(&w, text);
	DEMAND(cc_writer_ok(&w));
	DEMAND(cc_json_parse(written.data, written.len - w.left, &root) == CC_OK);
	DEMAND(cc_json_string(root, (char *) again.data, again.len, &again_len));
	DEMAND(again_len == len && memcmp(again.data, text, len) == 0);
	fuzz_free(written);
	fuzz_free(again);
}

static void
read_string(cc_json value)
{
	/* no escape is shorter than what it stands for */
	fuzz_bytes	text = fuzz_alloc(value.len, 0xaa);
	size_t		len;

	if (cc_json_string(value, (char *) text.data, text.len, &len))
	{
		DEMAND(len < text.len && text.data[len] == '\0' && strlen((char *) text.data) == len);
		write_and_read((char *) text.data, len);
		DEMAND(len == 0 || !cc_json_string(value, (char *) text.data, len, &len));
	}
	else
		DEMAND(fuzz_wiped(text) && len == 0);
	fuzz_free(text);
}

static void
walk(cc_json value, const fuzz_bytes *whole)
{
	static const char *const names[] = {"data", "auth", "errors", "batch_results", "plaintext", ""};
	cc_json_walk elements = cc_json_elements(value);
	cc_json		inner;
	uint64_t	count;
	bool		truth;

	DEMAND(value.len > 0 && value.at >= whole->data &&
		   value.at + value.len <= whole->data + whole->len);
	/* a slice is a text by itself */
	DEMAND(cc_json_parse(value.at, value.len, &inner) == CC_OK && inner.len == value.len);
	if (cc_json_type_of(value) == CC_JSON_STRING)
		read_string(value);
	if (cc_json_count(value, &count))
		DEMAND(cc_json_type_of(value) == CC_JSON_NUMBER && count <= UINT64_C(1) << 53);
	if (cc_json_bool(value, &truth))
		DEMAND(value.len == (truth ? 4 : 5));
	while (cc_json_next(&elements, &inner))
		walk(inner, whole);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		if (cc_json_member(value, names[i], &inner))
			walk(inner, whole);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_input	input = {data, size};
	fuzz_bytes	text = fuzz_rest(&input);
	cc_json		root;

	/* the walk parses each slice again: long texts would only take time */
	if (text.len <= 4096 && cc_json_parse(text.data, text.len, &root) == CC_OK)
		walk(root, &text);
	fuzz_free(text);
	return 0;
}
