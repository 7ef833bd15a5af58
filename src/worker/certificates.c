/*
 * certificates.c
 *		When the certificates of a server expire; see certificates.h.
 */
#include "postgres.h"

#include "worker/certificates.h"

static int64
expiry_of(const X509 *certificate)
{
	struct tm	parts;

	if (certificate == NULL || !ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &parts))
		return 0;
	return timegm(&parts);
}

/* The time at which the first certificate of a genuine chain, root included, expires. */
static int64
first_expiry(STACK_OF(X509) *chain)
{
	int64		first = 0;

	for (int i = 0; i < sk_X509_num(chain); i++)
	{
		int64		expiry = expiry_of(sk_X509_value(chain, i));

		if (i == 0 || expiry < first)
			first = expiry;
	}
	return first;
}

/*
 * OpenSSL calls this in place of X509_verify_cert(), whose result it returns: it only notes
 * the expiry.  Signatures are checked before times, so that a certificate whose only error is
 * that it has expired is known to be genuine.
 */
static int
verify(X509_STORE_CTX *store, void *arg)
{
	int64	   *not_after = arg;
	int			verified = X509_verify_cert(store);

	if (verified == 1)
		*not_after = first_expiry(X509_STORE_CTX_get0_chain(store));
	else if (X509_STORE_CTX_get_error(store) == X509_V_ERR_CERT_HAS_EXPIRED)
		*not_after = expiry_of(X509_STORE_CTX_get_current_cert(store));
	return verified == 1;
}

void
chatcrypt_certificates_watch(SSL_CTX *context, int64 *not_after)
{
	SSL_CTX_set_cert_verify_callback(context, verify, not_after);
}

bool
chatcrypt_certificates_are_seen(const char *ssl_version)
{
	char		ours[32];

	snprintf(ours, sizeof(ours), "OpenSSL/%lu.", OpenSSL_version_num() >> 28);
	return ssl_version != NULL && strncmp(ssl_version, ours, strlen(ours)) == 0;
}
