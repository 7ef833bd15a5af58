/*
 * providers.h
 *		The providers that are built in: a new one is declared here and listed in
 *		providers.c.
 */
#ifndef CC_PROVIDERS_H
#define CC_PROVIDERS_H

#include "kms/provider.h"

extern const cc_kms_provider cc_kms_local;
extern const cc_kms_provider cc_kms_vault;

#endif
