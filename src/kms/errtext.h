/*
 * errtext.h
 *		Error texts for a person: printable ASCII, bounded, and never a secret.
 */
#ifndef CC_ERRTEXT_H
#define CC_ERRTEXT_H

#include "kms/provider.h"

/*
 * Formats into an error.  Bytes that are not printable ASCII become '?', and a
 * text that does not fit ends in "...".  Never give it a credential or a key.
 */
extern void cc_kms_say(char error[CC_KMS_ERROR_MAX], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Gives one item its outcome, and the error text that goes with it ("" for none). */
extern void cc_kms_item_fail(cc_kms_item *item, cc_kms_outcome outcome, const char *error);

/* The same for every item of a batch. */
extern void cc_kms_batch_fail(cc_kms_batch *batch, cc_kms_outcome outcome, const char *error);

#endif
