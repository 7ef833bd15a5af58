/*
 * json.c
 *		Reads JSON where it lies.
 *
 * The same functions check values and skip them: a value is skipped by checking it again,
 * which is fast enough for a reply of a megabyte, and leaves no second implementation of
 * the grammar that could differ from the first.
 */
#include <string.h>

#include "kms/json.h"

#define COUNT_MAX (UINT64_C(1) << 53)	/* the largest number on which all JSON readers agree */

/* Each of these functions moves *at behind what it took, or returns false. */
typedef struct scan
{
	const uint8_t *at;
	const uint8_t *end;
} scan;

static bool skip_value(scan *s, int depth);

static void
skip_space(scan *s)
{
	while (s->at < s->end &&
		   (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
		s->at++;
}

static bool
take(scan *s, uint8_t c)
{
	if (s->at == s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

static bool
take_word(scan *s, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (s->end - s->at) < len || memcmp(s->at, word, len) != 0)
		return false;
	s->at += len;
	return true;
}

static bool
take_hex4(scan *s, uint32_t *code)
{
	uint8_t		bytes[2];

	if (s->end - s->at < 4 || cc_hex_decode((const char *) s->at, 4, bytes, 2) != CC_OK)
		return false;
	*code = (uint32_t) bytes[0] << 8 | bytes[1];
	s->at += 4;
	return true;
}

/* Takes what follows a backslash. */
static bool
take_escape(scan *s, uint32_t *code)
{
	static const char names[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	const char *name;
	uint32_t	low;

	if (s->at == s->end)
		return false;
	if (take(s, 'u'))
	{
		if (!take_hex4(s, code))
			return false;
		if (*code < 0xd800 || *code > 0xdfff)
			return true;
		/* half of a surrogate pair means nothing by itself */
		if (*code > 0xdbff || !take_word(s, "\\u") || !take_hex4(s, &low) ||
			low < 0xdc00 || low > 0xdfff)
			return false;
		*code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
		return true;
	}
	name = memchr(names, *s->at, sizeof(names) - 1);
	if (name == NULL)
		return false;
	*code = (uint8_t) meanings[name - names];
	s->at++;
	return true;
}

/* Takes a character that stands for itself: UTF-8 in its shortest form. */
static bool
take_utf8(scan *s, uint32_t *code)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	uint8_t		lead = *s->at++;
	int			more;

	if (lead < 0x80)
	{
		*code = lead;
		return lead >= 0x20;
	}
	if (lead >= 0xc2 && lead <= 0xdf)
		more = 1;
	else if (lead >= 0xe0 && lead <= 0xef)
		more = 2;
	else if (lead >= 0xf0 && lead <= 0xf4)
		more = 3;
	else
		return false;

	*code = lead & (0x3f >> more);
	for (int i = 0; i < more; i++)
	{
		if (s->at == s->end || (*s->at & 0xc0) != 0x80)
			return false;
		*code = *code << 6 | (*s->at++ & 0x3f);
	}
	return *code >= least[more] && *code <= 0x10ffff && (*code < 0xd800 || *code > 0xdfff);
}

/* Takes one character inside a string, and not its closing quote. */
static bool
take_char(scan *s, uint32_t *code)
{
	if (s->at == s->end)
		return false;
	if (take(s, '\\'))
		return take_escape(s, code);
	return take_utf8(s, code);
}

static bool
skip_string(scan *s)
{
	uint32_t	code;

	if (!take(s, '"'))
		return false;
	while (!take(s, '"'))
	{
		if (!take_char(s, &code))
			return false;
	}
	return true;
}

static bool
skip_digits(scan *s)
{
	const uint8_t *start = s->at;

	while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
		s->at++;
	return s->at > start;
}

static bool
skip_number(scan *s)
{
	(void) take(s, '-');
	if (!take(s, '0') && !skip_digits(s))
		return false;
	if (take(s, '.') && !skip_digits(s))
		return false;
	if (take(s, 'e') || take(s, 'E'))
	{
		if (!take(s, '+'))
			(void) take(s, '-');
		return skip_digits(s);
	}
	return true;
}

static bool
skip_array(scan *s, int depth)
{
	if (!take(s, '['))
		return false;
	skip_space(s);
	if (take(s, ']'))
		return true;
	do
	{
		skip_space(s);
		if (!skip_value(s, depth))
			return false;
		skip_space(s);
	} while (take(s, ','));
	return take(s, ']');
}

static bool
skip_object(scan *s, int depth)
{
	if (!take(s, '{'))
		return false;
	skip_space(s);
	if (take(s, '}'))
		return true;
	do
	{
		skip_space(s);
		if (!skip_string(s))
			return false;
		skip_space(s);
		if (!take(s, ':'))
			return false;
		skip_space(s);
		if (!skip_value(s, depth))
			return false;
		skip_space(s);
	} while (take(s, ','));
	return take(s, '}');
}

static bool
skip_value(scan *s, int depth)
{
	if (s->at == s->end || depth >= CC_JSON_DEPTH_MAX)
		return false;
	switch (*s->at)
	{
		case '{':
			return skip_object(s, depth + 1);
		case '[':
			return skip_array(s, depth + 1);
		case '"':
			return skip_string(s);
		case 't':
			return take_word(s, "true");
		case 'f':
			return take_word(s, "false");
		case 'n':
			return take_word(s, "null");
		default:
			return skip_number(s);
	}
}

static scan
scan_of(cc_json value)
{
	return (scan) {value.at, value.at + value.len};
}

/* Takes one value and returns where it is. */
static bool
take_value(scan *s, cc_json *value)
{
	const uint8_t *start = s->at;

	if (!skip_value(s, 0))
		return false;
	*value = (cc_json) {start, (size_t) (s->at - start)};
	return true;
}

cc_status
cc_json_parse(const void *text, size_t len, cc_json *root)
{
	scan		s;

	if (text == NULL || len == 0)
		return CC_ERR_SYNTAX;
	s = scan_of((cc_json) {text, len});
	skip_space(&s);
	if (!take_value(&s, root))
		return CC_ERR_SYNTAX;
	skip_space(&s);
	return s.at == s.end ? CC_OK : CC_ERR_SYNTAX;
}

cc_json_type
cc_json_type_of(cc_json value)
{
	switch (value.len == 0 ? 'n' : *value.at)
	{
		case '{':
			return CC_JSON_OBJECT;
		case '[':
			return CC_JSON_ARRAY;
		case '"':
			return CC_JSON_STRING;
		case 't':
		case 'f':
			return CC_JSON_BOOL;
		case 'n':
			return CC_JSON_NULL;
		default:
			return CC_JSON_NUMBER;
	}
}

/* Takes a string and tells whether it is name, which is ASCII, however it is escaped. */
static bool
take_name(scan *s, const char *name, bool *same)
{
	uint32_t	code;

	*same = true;
	if (!take(s, '"'))
		return false;
	while (!take(s, '"'))
	{
		if (!take_char(s, &code))
			return false;
		if (*name == '\0' || code != (uint8_t) *name)
			*same = false;
		else
			name++;
	}
	if (*name != '\0')
		*same = false;
	return true;
}

bool
cc_json_member(cc_json object, const char *name, cc_json *value)
{
	scan		s = scan_of(object);
	int			found = 0;

	if (cc_json_type_of(object) != CC_JSON_OBJECT || !take(&s, '{'))
		return false;
	do
	{
		bool		same;
		cc_json		member;

		skip_space(&s);
		if (!take_name(&s, name, &same))
			break;
		skip_space(&s);
		if (!take(&s, ':'))
			break;
		skip_space(&s);
		if (!take_value(&s, &member))
			break;
		if (same)
		{
			*value = member;
			found++;
		}
		skip_space(&s);
	} while (take(&s, ','));
	return found == 1;
}

cc_json_walk
cc_json_elements(cc_json array)
{
	cc_json_walk walk = {{array.at, 0}};

	if (cc_json_type_of(array) == CC_JSON_ARRAY)
		walk.rest = (cc_json) {array.at + 1, array.len - 1};
	return walk;
}

bool
cc_json_next(cc_json_walk *walk, cc_json *value)
{
	scan		s = scan_of(walk->rest);

	skip_space(&s);
	if (!take_value(&s, value))
		return false;
	skip_space(&s);
	(void) take(&s, ',');
	walk->rest = (cc_json) {s.at, (size_t) (s.end - s.at)};
	return true;
}

static size_t
encode_utf8(uint32_t code, char out[4])
{
	if (code < 0x80)
	{
		out[0] = (char) code;
		return 1;
	}
	if (code < 0x800)
	{
		out[0] = (char) (0xc0 | code >> 6);
		out[1] = (char) (0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000)
	{
		out[0] = (char) (0xe0 | code >> 12);
		out[1] = (char) (0x80 | (code >> 6 & 0x3f));
		out[2] = (char) (0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char) (0xf0 | code >> 18);
	out[1] = (char) (0x80 | (code >> 12 & 0x3f));
	out[2] = (char) (0x80 | (code >> 6 & 0x3f));
	out[3] = (char) (0x80 | (code & 0x3f));
	return 4;
}

bool
cc_json_string(cc_json value, char *text, size_t capacity, size_t *len)
{
	scan		s = scan_of(value);
	uint32_t	code;

	*len = 0;
	if (cc_json_type_of(value) != CC_JSON_STRING || !take(&s, '"') || capacity == 0)
		return false;
	while (!take(&s, '"'))
	{
		char		bytes[4];
		size_t		n;

		if (!take_char(&s, &code) || code == 0 ||
			(n = encode_utf8(code, bytes)) > capacity - 1 - *len)
		{
			cc_wipe(text, capacity);
			*len = 0;
			return false;
		}
		memcpy(text + *len, bytes, n);
		*len += n;
	}
	text[*len] = '\0';
	return true;
}

bool
cc_json_count(cc_json value, uint64_t *count)
{
	uint64_t	total = 0;

	if (cc_json_type_of(value) != CC_JSON_NUMBER)
		return false;
	for (size_t i = 0; i < value.len; i++)
	{
		if (value.at[i] < '0' || value.at[i] > '9')
			return false;
		total = total * 10 + (uint64_t) (value.at[i] - '0');
		if (total > COUNT_MAX)
			return false;
	}
	*count = total;
	return true;
}

bool
cc_json_bool(cc_json value, bool *truth)
{
	if (cc_json_type_of(value) != CC_JSON_BOOL)
		return false;
	*truth = *value.at == 't';
	return true;
}
