/*
 * test_kms_json.c
 *		The JSON reader against the edges of RFC 8259, and the writer.
 */
#include "harness.h"

#include "kms/json.h"

/* Parses from exactly sized memory; *root points into *copy, which the caller frees. */
static cc_status
parse(const void *text, size_t len, uint8_t **copy, cc_json *root)
{
	*copy = unit_copy(text, len);
	return cc_json_parse(*copy, len, root);
}

static bool
accepts_bytes(const void *text, size_t len)
{
	uint8_t    *copy;
	cc_json		root;
	bool		ok = parse(text, len, &copy, &root) == CC_OK;

	free(copy);
	return ok;
}

static bool
accepts(const char *text)
{
	return accepts_bytes(text, strlen(text));
}

/* Is the string value of this text the expected one? */
static bool
reads_as(const char *text, const char *expected)
{
	uint8_t    *copy;
	cc_json		root;
	char		out[64];
	size_t		len;
	bool		ok = parse(text, strlen(text), &copy, &root) == CC_OK &&
		cc_json_string(root, out, sizeof(out), &len) &&
		len == strlen(expected) && strcmp(out, expected) == 0;

	free(copy);
	return ok;
}

static void
good_texts(void)
{
	static const char *const texts[] = {
		"{}", "[]", "\"\"", "0", "-0", "1", "-12.5e+3", "1E9", "0.0", "1e-7", "true", "false",
		"null", " \t\r\n[ 1 , 2 ] \n", "{\"a\":{\"b\":[{}]},\"c\":null}", "[[[]]]",
		"\"\\u0041\\n\\\"\\\\\\/\"", "\"\\ud83d\\ude00\"", "\"\xc3\xa9\"", "\"\xf4\x8f\xbf\xbf\"",
		"\"\x7f\"",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK_AT(accepts(texts[i]), i);
}

static void
bad_texts(void)
{
	static const char *const texts[] = {
		"", " ", "{", "}", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}",
		"{\"a\":1,}", "{a:1}", "{'a':1}", "{1:2}", "{\"a\":1 \"b\":2}", "{\"a\" 1}", "1 2", "[] []",
		"{}x", "01", "1.", ".5", "-", "+1", "1e", "1e+", "0x10", "1.e3", "NaN", "Infinity",
		"tru", "truE", "nul", "falsee", "\"", "\"a", "\"\\\"", "\"\\x41\"", "\"\\u12\"",
		"\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\\ud800x\"",
		"\"\t\"", "\"\n\"", "\"\x1f\"", "\"\x80\"", "\"\xc3\"", "\"\xc3(\"", "\"\xc0\xaf\"",
		"\"\xc1\xbf\"", "\"\xe0\x80\xaf\"", "\"\xed\xa0\x80\"", "\"\xf0\x80\x80\xaf\"",
		"\"\xf4\x90\x80\x80\"", "\"\xf8\x88\x80\x80\x80\"", "\"\xff\"", "\xef\xbb\xbf{}",
		"// x\n{}", "[1]\f",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK_AT(!accepts(texts[i]), i);
	CHECK(!accepts_bytes("{}\0", 3));
	CHECK(!accepts_bytes("\"a\0b\"", 5));
}

/* A text that is cut at any place is refused and never read past its end. */
static void
every_prefix_is_refused(void)
{
	static const char text[] = "{\"a\":[1,-2.5e3,\"\\u0041\\ud83d\\ude00\xc3\xa9\"],\"b\":{\"c\":true,\"d\":null}}";

	for (size_t len = 0; len < strlen(text); len++)
		CHECK_AT(!accepts_bytes(text, len), len);
	CHECK(accepts(text));
}

static void
depth_is_bounded(void)
{
	char		text[4 * CC_JSON_DEPTH_MAX];

	for (int depth = 1; depth < 2 * CC_JSON_DEPTH_MAX; depth++)
	{
		memset(text, '[', (size_t) depth);
		memset(text + depth, ']', (size_t) depth);
		CHECK_AT(accepts_bytes(text, (size_t) (2 * depth)) == (depth <= CC_JSON_DEPTH_MAX), depth);
	}
}

static void
a_million_brackets_are_refused(void)
{
	size_t		len = 1000000;
	char	   *text = malloc(len);

	CHECK(text != NULL);
	memset(text, '[', len);
	CHECK(!accepts_bytes(text, len));
	free(text);
}

static void
strings_are_unescaped(void)
{
	CHECK(reads_as("\"abc\"", "abc"));
	CHECK(reads_as("\"\"", ""));
	CHECK(reads_as("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"));
	CHECK(reads_as("\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
	CHECK(reads_as("\"\\u002b/=\"", "+/="));
	CHECK(!reads_as("12", "12"));
	CHECK(!reads_as("\"a\\u0000b\"", "a"));
}

/* A string that does not fit leaves nothing of itself in the buffer. */
static void
string_capacity(void)
{
	uint8_t    *copy;
	cc_json		root;
	char		out[8];
	size_t		len;

	CHECK(parse("\"secret\"", 8, &copy, &root) == CC_OK);
	CHECK(cc_json_string(root, out, 7, &len) && len == 6);
	for (size_t capacity = 0; capacity < 7; capacity++)
	{
		memset(out, 0, sizeof(out));
		CHECK_AT(!cc_json_string(root, out, capacity, &len), capacity);
		CHECK_AT(len == 0 && unit_all_zero((uint8_t *) out, sizeof(out)), capacity);
	}
	free(copy);
}

static bool
member_is(const char *object, const char *name, const char *expected)
{
	uint8_t    *copy;
	cc_json		root;
	cc_json		value;
	bool		same = parse(object, strlen(object), &copy, &root) == CC_OK &&
		cc_json_member(root, name, &value) &&
		value.len == strlen(expected) && memcmp(value.at, expected, value.len) == 0;

	free(copy);
	return same;
}

static bool
has_member(const char *object, const char *name)
{
	uint8_t    *copy;
	cc_json		root;
	cc_json		value;
	bool		found = parse(object, strlen(object), &copy, &root) == CC_OK &&
		cc_json_member(root, name, &value);

	free(copy);
	return found;
}

static void
members(void)
{
	static const char object[] = " { \"a\" : 1 , \"bb\":{\"a\":2},\"\\u0063\": [ 3 ], \"\":4 , \"s\":\"}\" } ";

	CHECK(member_is(object, "a", "1"));
	CHECK(member_is(object, "bb", "{\"a\":2}"));
	CHECK(member_is(object, "c", "[ 3 ]"));
	CHECK(member_is(object, "", "4"));
	CHECK(member_is(object, "s", "\"}\""));
	CHECK(!has_member(object, "b"));
	CHECK(!has_member(object, "bbb"));
	CHECK(!has_member("{}", "a"));
	CHECK(!has_member("[\"a\",1]", "a"));
	CHECK(!has_member("\"a\"", "a"));
}

/* Two readers could take either of two members of one name: so neither is accepted. */
static void
double_members_are_none(void)
{
	CHECK(!has_member("{\"a\":1,\"a\":2}", "a"));
	CHECK(!has_member("{\"a\":1,\"\\u0061\":1}", "a"));
	CHECK(has_member("{\"a\":1,\"a\":2,\"b\":3}", "b"));
}

static int
count_elements(const char *array)
{
	uint8_t    *copy;
	cc_json		root;
	cc_json		value;
	cc_json_walk walk;
	int			count = 0;

	if (parse(array, strlen(array), &copy, &root) == CC_OK)
	{
		walk = cc_json_elements(root);
		while (cc_json_next(&walk, &value))
			count++;
	}
	free(copy);
	return count;
}

static void
elements(void)
{
	CHECK(count_elements("[]") == 0);
	CHECK(count_elements("[ ]") == 0);
	CHECK(count_elements("[1]") == 1);
	CHECK(count_elements("[ [1,2] , {\"a\":[3]}, \"]\" ,null ]") == 4);
	CHECK(count_elements("{\"a\":[1,2]}") == 0);
	CHECK(count_elements("\"[1,2]\"") == 0);
	CHECK(count_elements("null") == 0);
}

static bool
counts_as(const char *text, uint64_t expected)
{
	uint8_t    *copy;
	cc_json		root;
	uint64_t	count = 0;
	bool		ok = parse(text, strlen(text), &copy, &root) == CC_OK &&
		cc_json_count(root, &count) && count == expected;

	free(copy);
	return ok;
}

static void
numbers_and_truths(void)
{
	uint8_t    *copy;
	cc_json		root;
	bool		truth = false;

	CHECK(counts_as("0", 0));
	CHECK(counts_as("3600", 3600));
	CHECK(counts_as("9007199254740992", UINT64_C(9007199254740992)));
	CHECK(!counts_as("9007199254740993", UINT64_C(9007199254740993)));
	CHECK(!counts_as("99999999999999999999999999", 0));
	CHECK(!counts_as("-1", 0));
	CHECK(!counts_as("-0", 0));
	CHECK(!counts_as("1.0", 1));
	CHECK(!counts_as("1e3", 1000));
	CHECK(!counts_as("\"1\"", 1));
	CHECK(!counts_as("true", 1));
	CHECK(!counts_as("null", 0));

	CHECK(parse("true", 4, &copy, &root) == CC_OK && cc_json_bool(root, &truth) && truth);
	free(copy);
	CHECK(parse("false", 5, &copy, &root) == CC_OK && cc_json_bool(root, &truth) && !truth);
	free(copy);
	CHECK(parse("1", 1, &copy, &root) == CC_OK && !cc_json_bool(root, &truth));
	free(copy);
}

static void
writes_what_it_can_read(void)
{
	char		text[64] = {0};
	char		back[16];
	size_t		len;
	cc_json		root;
	cc_writer	w = cc_writer_init(text, sizeof(text));

	cc_json_put_string(&w, "a\"b\\c\x01\n\xc3\xa9");
	CHECK(cc_writer_ok(&w));
	CHECK(strcmp(text, "\"a\\\"b\\\\c\\u0001\\u000a\xc3\xa9\"") == 0);
	CHECK(cc_json_parse(text, strlen(text), &root) == CC_OK);
	CHECK(cc_json_string(root, back, sizeof(back), &len));
	CHECK(strcmp(back, "a\"b\\c\x01\n\xc3\xa9") == 0);
}

static void
writes_base64(void)
{
	static const struct
	{
		size_t		len;
		const char *text;
	}			cases[] = {{0, "\"\""}, {1, "\"AA==\""}, {2, "\"AAE=\""}, {3, "\"AAEC\""},
		{50, "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDE=\""}};
	uint8_t		bytes[50];
	char		text[80];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t) i;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		cc_writer	w = cc_writer_init(text, sizeof(text));

		memset(text, 0, sizeof(text));
		cc_json_put_base64(&w, bytes, cases[i].len);
		CHECK_AT(cc_writer_ok(&w) && strcmp(text, cases[i].text) == 0, i);
	}
}

static void
writer_stays_failed(void)
{
	uint8_t    *room = unit_alloc(5);
	cc_writer	w = cc_writer_init(room, 5);

	cc_json_put_string(&w, "abcdef");
	CHECK(!cc_writer_ok(&w));
	cc_json_put(&w, "x");
	CHECK(!cc_writer_ok(&w));
	free(room);
}

int
main(void)
{
	RUN(good_texts);
	RUN(bad_texts);
	RUN(every_prefix_is_refused);
	RUN(depth_is_bounded);
	RUN(a_million_brackets_are_refused);
	RUN(strings_are_unescaped);
	RUN(string_capacity);
	RUN(members);
	RUN(double_members_are_none);
	RUN(elements);
	RUN(numbers_and_truths);
	RUN(writes_what_it_can_read);
	RUN(writes_base64);
	RUN(writer_stays_failed);
	return unit_done();
}
