/*
 * fuzz_hex.c
 *		Hex in and out.
 *
 * Input: u16 room, and the text.  An even text decodes into its own length as well.
 */
#include "fuzz.h"

/* The value of a hex digit, read independently of the core; -1 for anything else. */
static int
digit(char c)
{
	const char *digits = "0123456789abcdef0123456789ABCDEF";
	const char *found = c == '\0' ? NULL : strchr(digits, c);

	return found == NULL ? -1 : (int) ((found - digits) % 16);
}

/* A text that decodes has as many digits as it needs, only digits, and their values. */
static void
decode(fuzz_bytes text, size_t room)
{
	fuzz_bytes	out = fuzz_alloc(room, 0xaa);
	const char *chars = (const char *) text.data;
	bool		valid = text.len == 2 * room;

	for (size_t i = 0; i < text.len; i++)
		valid = valid && digit(chars[i]) >= 0;
	DEMAND((cc_hex_decode(chars, text.len, out.data, room) == CC_OK) == valid);
	for (size_t i = 0; valid && i < room; i++)
		DEMAND(out.data[i] == digit(chars[2 * i]) * 16 + digit(chars[2 * i + 1]));
	fuzz_free(out);
}

static void
encode_and_back(fuzz_bytes bytes)
{
	fuzz_bytes	text = fuzz_alloc(2 * bytes.len, 0);
	fuzz_bytes	back = fuzz_alloc(bytes.len, 0);

	cc_hex_encode(bytes.data, bytes.len, (char *) text.data);
	for (size_t i = 0; i < text.len; i++)
		DEMAND(digit((char) text.data[i]) >= 0 && !(text.data[i] >= 'A' && text.data[i] <= 'F'));
	DEMAND(cc_hex_decode((const char *) text.data, text.len, back.data, back.len) == CC_OK);
	DEMAND(fuzz_same(back, bytes));
	fuzz_free(text);
	fuzz_free(back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_input	input = {data, size};
	size_t		room = (size_t) fuzz_number(&input, 2);
	fuzz_bytes	text = fuzz_rest(&input);

	decode(text, room);
	decode(text, text.len / 2);
	encode_and_back(text);
	fuzz_free(text);
	return 0;
}
