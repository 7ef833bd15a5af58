/*
 * errtext.c
 *		Error texts for a person.  They can contain what a server sent, and end up in
 *		logs and terminals, so nothing but printable ASCII gets through.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "kms/errtext.h"

void
cc_kms_say(char error[CC_KMS_ERROR_MAX], const char *format, ...)
{
	va_list		args;
	int			len;

	va_start(args, format);
	len = vsnprintf(error, CC_KMS_ERROR_MAX, format, args);
	va_end(args);

	if (len < 0)
		error[0] = '\0';
	if (len >= CC_KMS_ERROR_MAX)
		memcpy(error + CC_KMS_ERROR_MAX - 4, "...", 4);
	for (char *c = error; *c != '\0'; c++)
	{
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	}
}

void
cc_kms_item_fail(cc_kms_item *item, cc_kms_outcome outcome, const char *error)
{
	item->outcome = outcome;
	cc_kms_say(item->error, "%s", error);
}

void
cc_kms_batch_fail(cc_kms_batch *batch, cc_kms_outcome outcome, const char *error)
{
	for (int i = 0; i < batch->nitems; i++)
		cc_kms_item_fail(batch->items[i], outcome, error);
}
