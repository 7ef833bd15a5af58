/*
 * json.h
 *		Reads JSON where it lies, and writes it into a buffer of fixed size.
 *
 * cc_json_parse() checks a whole text once (RFC 8259, UTF-8, bounded depth);
 * after that a value is a slice of that text.  Nothing is copied or allocated, so
 * that a secret in a reply stays in the reply alone until a caller asks for it.
 */
#ifndef CC_JSON_H
#define CC_JSON_H

#include "core/bytes.h"

#define CC_JSON_DEPTH_MAX 24

typedef enum cc_json_type
{
	CC_JSON_NULL,
	CC_JSON_BOOL,
	CC_JSON_NUMBER,
	CC_JSON_STRING,
	CC_JSON_ARRAY,
	CC_JSON_OBJECT
} cc_json_type;

/* One value of a text that has been checked; valid as long as the text is. */
typedef struct cc_json
{
	const uint8_t *at;
	size_t		len;
} cc_json;

typedef struct cc_json_walk
{
	cc_json		rest;
} cc_json_walk;

/* Returns CC_ERR_SYNTAX unless the text is one value with only white space around it. */
extern CC_MUST_CHECK cc_status cc_json_parse(const void *text, size_t len, cc_json *root);

extern cc_json_type cc_json_type_of(cc_json value);

/* False where object is not an object, or does not have exactly one member of that name. */
extern CC_MUST_CHECK bool cc_json_member(cc_json object, const char *name, cc_json *value);

/* Walks the elements of an array in order; there are none where the value is not an array. */
extern cc_json_walk cc_json_elements(cc_json array);
extern CC_MUST_CHECK bool cc_json_next(cc_json_walk *walk, cc_json *value);

/*
 * Unescapes a string into text, with a terminator.  False where value is not a
 * string, holds U+0000, or does not fit; text is wiped then.
 */
extern CC_MUST_CHECK bool cc_json_string(cc_json value, char *text, size_t capacity, size_t *len);

/* False where value is not a whole number from 0 to 2^53. */
extern CC_MUST_CHECK bool cc_json_count(cc_json value, uint64_t *count);

extern CC_MUST_CHECK bool cc_json_bool(cc_json value, bool *truth);

/* Writing JSON.  As with any cc_writer, a writer that runs out of room stays failed. */
extern void cc_json_put(cc_writer *w, const char *raw);
extern void cc_json_put_string(cc_writer *w, const char *text);
extern void cc_json_put_base64(cc_writer *w, const uint8_t *bytes, size_t len);

#endif
