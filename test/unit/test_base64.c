/*
 * test_base64.c
 *		Base64: the answers of RFC 4648, every byte and length, and all that is refused.
 */
#include "harness.h"

#include "core/base64.h"

static const struct
{
	const char *bytes;
	const char *text;
}			answers[] = {
	{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
	{"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"},
	{"\xfb\xff\xbf", "+/+/"}
};

/* Whether text decodes to exactly these bytes, in a buffer of exactly their length. */
static bool
decodes_to(const char *text, size_t text_len, const void *bytes, size_t len)
{
	char	   *exact = (char *) unit_copy((const uint8_t *) text, text_len);
	uint8_t    *out = unit_alloc(len);
	size_t		out_len = SIZE_MAX;
	bool		good = cc_base64_decode(exact, text_len, out, len, &out_len) == CC_OK &&
		out_len == len && memcmp(out, bytes, len) == 0;

	free(exact);
	free(out);
	return good;
}

static bool
is_refused(const char *text, size_t text_len)
{
	uint8_t    *out = unit_alloc(CC_BASE64_BYTES_MAX(text_len) + 3);
	size_t		out_len;
	cc_status	status = cc_base64_decode(text, text_len, out, CC_BASE64_BYTES_MAX(text_len) + 3, &out_len);

	free(out);
	return status == CC_ERR_SYNTAX;
}

static void
answers_of_the_rfc(void)
{
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
	{
		size_t		len = strlen(answers[i].bytes);
		char	   *text = (char *) unit_alloc(CC_BASE64_TEXT_LEN(len) + 1);

		cc_base64_encode((const uint8_t *) answers[i].bytes, len, text);
		CHECK_AT(strcmp(text, answers[i].text) == 0, i);
		CHECK_AT(decodes_to(answers[i].text, strlen(answers[i].text), answers[i].bytes, len), i);
		free(text);
	}
}

static void
every_length_both_ways(void)
{
	for (size_t len = 0; len < 300; len++)
	{
		uint8_t    *bytes = unit_alloc(len);
		char	   *text = (char *) unit_alloc(CC_BASE64_TEXT_LEN(len) + 1);

		unit_fill(bytes, len);
		cc_base64_encode(bytes, len, text);
		CHECK_AT(strlen(text) == CC_BASE64_TEXT_LEN(len) && CC_BASE64_BYTES_MAX(strlen(text)) >= len &&
				 decodes_to(text, strlen(text), bytes, len), len);
		free(bytes);
		free(text);
	}
}

static void
refuses_every_other_character(void)
{
	for (int c = 0; c < 256; c++)
	{
		bool		known = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
			c == '+' || c == '/';
		char		text[4] = {'Z', 'm', '9', 'v'};

		for (int at = 0; at < 3; at++)
		{
			memcpy(text, "Zm9v", 4);
			text[at] = (char) c;
			CHECK_AT(is_refused(text, 4) == !known, c);
		}
	}
}

static void
refuses_other_texts(void)
{
	static const char *const others[] = {
		"Z", "Zg", "Zg=", "Zg===", "Zm8", "Zm8==", "=", "====", "Zm9v=", "Zm9vZg",
		"Zh==", "Zm9=",			/* bits that are of no byte */
		" Zm9v", "Zm9v ", "Zm9v\n", "Zm\n9v", "Zg==Zm9v", "Zm9-", "Zm9_"
	};

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		CHECK_AT(is_refused(others[i], strlen(others[i])), i);
}

static void
refuses_what_has_no_room(void)
{
	uint8_t		out[2];
	size_t		out_len;

	CHECK(cc_base64_decode("Zm9v", 4, out, sizeof(out), &out_len) == CC_ERR_SYNTAX);
	CHECK(cc_base64_decode("Zm8=", 4, out, sizeof(out), &out_len) == CC_OK && out_len == 2);
}

int
main(void)
{
	RUN(answers_of_the_rfc);
	RUN(every_length_both_ways);
	RUN(refuses_every_other_character);
	RUN(refuses_other_texts);
	RUN(refuses_what_has_no_room);
	return unit_done();
}
