/*
 * jsonwrite.c
 *		Writes JSON into a buffer of fixed size.  It never grows: a body that holds
 *		keys must not leave copies of itself behind in freed memory.
 */
#include <string.h>

#include "core/base64.h"
#include "kms/json.h"

#define BASE64_STEP 48			/* a multiple of 3, so that only the last step has padding */

void
cc_json_put(cc_writer *w, const char *raw)
{
	cc_write_bytes(w, raw, strlen(raw));
}

void
cc_json_put_string(cc_writer *w, const char *text)
{
	static const char hex[] = "0123456789abcdef";

	cc_write_u8(w, '"');
	for (; *text != '\0'; text++)
	{
		uint8_t		c = (uint8_t) *text;

		if (c == '"' || c == '\\')
			cc_write_u8(w, '\\');
		if (c >= 0x20)
			cc_write_u8(w, c);
		else
		{
			cc_json_put(w, "\\u00");
			cc_write_u8(w, (uint8_t) hex[c >> 4]);
			cc_write_u8(w, (uint8_t) hex[c & 15]);
		}
	}
	cc_write_u8(w, '"');
}

void
cc_json_put_base64(cc_writer *w, const uint8_t *bytes, size_t len)
{
	char		text[CC_BASE64_TEXT_LEN(BASE64_STEP) + 1];

	cc_write_u8(w, '"');
	while (len > 0)
	{
		size_t		step = len < BASE64_STEP ? len : BASE64_STEP;

		cc_base64_encode(bytes, step, text);
		cc_json_put(w, text);
		bytes += step;
		len -= step;
	}
	cc_write_u8(w, '"');
	cc_wipe(text, sizeof(text));
}
