/*
 * bench_core.c
 *		What the core costs: ns a message, by length, back end and way of keeping keys.
 *
 * Cases of one table run in turns, a few hundred microseconds each, and the
 * median of each is shown: other load on the machine then hits all alike, and a
 * ratio of two of them means something where their times alone would not.
 *
 *	bench_core [rounds [ratio]]
 *
 * With the word ratio only the last table, which bench/sql holds SQL against.
 */
#define OPENSSL_SUPPRESS_DEPRECATED	/* the bare compressions that the core is held against */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/sha.h>
#include <sodium.h>

#include "core/attachment.h"
#include "core/envelope.h"
#include "core/random.h"

#define MAX_LEN		70000
#define MAX_ROUNDS	2001
#define TURN_NS		200000.0

/* Everything that a case may need, made once for each length. */
static cc_aead *sodium_aead;
static cc_aead *openssl_aead;
static cc_aead *auto_aead;
static cc_message_keys keys;
static uint8_t dek[CC_DEK_LEN];
static uint8_t chat_id[CC_ID_LEN];
static uint8_t message_id[CC_ID_LEN];
static uint8_t plaintext[MAX_LEN];
static uint8_t envelope[MAX_LEN + CC_ENVELOPE_OVERHEAD];
static uint8_t out[MAX_LEN + CC_ENVELOPE_OVERHEAD];
static size_t len;

/* For the bare case: the same work with nothing around it. */
static uint8_t bare_key[32];
static uint8_t bare_nonce[12];
static uint8_t bare_tag[16];
static uint8_t bare_ciphertext[MAX_LEN];
static uint8_t bare_header[CC_HEADER_LEN];
static SHA256_CTX bare_sha;
static uint8_t bare_block[64];
static crypto_aead_aes256gcm_state bare_state;

static void
must(bool ok)
{
	if (ok)
		return;
	fprintf(stderr, "bench_core: a case failed\n");
	exit(1);
}

static void
seal_with(cc_aead *aead)
{
	must(cc_envelope_seal(aead, &keys, 1, message_id, NULL, 0, plaintext, len, out) == CC_OK);
}

static void
open_with(cc_aead *aead)
{
	must(cc_envelope_open(aead, &keys, 1, message_id, NULL, 0, envelope, len + CC_ENVELOPE_OVERHEAD,
						  out) == CC_OK);
}

static void
seal_sodium(void)
{
	seal_with(sodium_aead);
}

static void
open_sodium(void)
{
	open_with(sodium_aead);
}

static void
seal_openssl(void)
{
	seal_with(openssl_aead);
}

static void
open_openssl(void)
{
	open_with(openssl_aead);
}

static void
seal_auto(void)
{
	seal_with(auto_aead);
}

static void
open_auto(void)
{
	open_with(auto_aead);
}

/* The HMAC states made from the DEK for every message. */
static void
open_states_from_scratch(void)
{
	cc_message_keys own;

	must(cc_message_keys_derive(&own, dek, chat_id, 1) == CC_OK);
	must(cc_envelope_open(auto_aead, &own, 1, message_id, NULL, 0, envelope,
						  len + CC_ENVELOPE_OVERHEAD, out) == CC_OK);
	cc_wipe(&own, sizeof(own));
}

/* The states, and the AES context as well. */
static void
open_all_from_scratch(void)
{
	cc_message_keys own;
	cc_aead    *aead = cc_aead_new(CC_AEAD_AUTO);

	must(aead != NULL);
	must(cc_message_keys_derive(&own, dek, chat_id, 1) == CC_OK);
	must(cc_envelope_open(aead, &own, 1, message_id, NULL, 0, envelope, len + CC_ENVELOPE_OVERHEAD,
						  out) == CC_OK);
	cc_wipe(&own, sizeof(own));
	cc_aead_free(aead);
}

static void
bare_halves(void)
{
	for (int i = 0; i < 4; i++)
		SHA256_Transform(&bare_sha, bare_block);
}

static void
bare_gcm_open(void)
{
	crypto_aead_aes256gcm_beforenm(&bare_state, bare_key);
	must(crypto_aead_aes256gcm_decrypt_detached_afternm(out, NULL, bare_ciphertext, len, bare_tag,
														bare_header, sizeof(bare_header),
														bare_nonce, &bare_state) == 0);
}

static void
bare_open(void)
{
	bare_halves();
	bare_gcm_open();
}

static void
one_hmac(void)
{
	cc_hmac(&keys.message, plaintext, 31, out);
}

static void
one_salt(void)
{
	must(cc_random_bytes(out, CC_SALT_LEN) == CC_OK);
}

/* A statement that seals one row: the first salt, and forgetting the rest. */
static void
one_statement_salt(void)
{
	must(cc_random_bytes(out, CC_SALT_LEN) == CC_OK);
	cc_random_forget();
}

static void
aead_forget(void)
{
	open_openssl();
	cc_aead_forget(openssl_aead);
}

static void
aead_open_sodium(void)
{
	must(cc_aead_open(sodium_aead, bare_key, bare_nonce, bare_header, sizeof(bare_header),
					  bare_ciphertext, len, bare_tag, out) == CC_OK);
}

static void
aead_open_openssl(void)
{
	must(cc_aead_open(openssl_aead, bare_key, bare_nonce, bare_header, sizeof(bare_header),
					  bare_ciphertext, len, bare_tag, out) == CC_OK);
}

static double
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec * 1e9 + (double) t.tv_nsec;
}

typedef struct bench_case
{
	const char *name;
	void		(*run) (void);
	int			repeats;		/* calls in one turn */
	double		median;
} bench_case;

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static double
turn(const bench_case *c)
{
	double		start = now_ns();

	for (int i = 0; i < c->repeats; i++)
		c->run();
	return (now_ns() - start) / c->repeats;
}

static void
measure(bench_case *cases, int ncases, int rounds)
{
	static double times[16][MAX_ROUNDS];

	for (int c = 0; c < ncases; c++)
	{
		cases[c].repeats = 100;
		cases[c].repeats = (int) (TURN_NS / turn(&cases[c])) + 1;
	}
	for (int round = 0; round < rounds; round++)
		for (int c = 0; c < ncases; c++)
			times[c][round] = turn(&cases[c]);
	for (int c = 0; c < ncases; c++)
	{
		qsort(times[c], (size_t) rounds, sizeof(double), compare_doubles);
		cases[c].median = times[c][rounds / 2];
	}
}

static void
set_len(size_t new_len)
{
	unsigned long long tag_len;

	len = new_len;
	must(cc_envelope_seal(auto_aead, &keys, 1, message_id, NULL, 0, plaintext, len, envelope)
		 == CC_OK);
	if (sodium_aead != NULL)
		crypto_aead_aes256gcm_encrypt_detached(bare_ciphertext, bare_tag, &tag_len, plaintext, len,
											   bare_header, sizeof(bare_header), NULL,
											   bare_nonce, bare_key);
}

static void
table_of_lengths(int rounds)
{
	static const size_t lengths[] = {32, 128, 512, 2048, 16384};

	printf("ns a message%13s%12s%12s%12s%12s%12s%14s%14s\n", "seal sodium", "seal openssl",
		   "seal auto", "open sodium", "open openssl", "open auto", "states anew", "all anew");
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++)
	{
		bench_case	cases[] = {
			{.run = sodium_aead ? seal_sodium : seal_auto},
			{.run = seal_openssl},
			{.run = seal_auto},
			{.run = sodium_aead ? open_sodium : open_auto},
			{.run = open_openssl},
			{.run = open_auto},
			{.run = open_states_from_scratch},
			{.run = open_all_from_scratch}
		};

		set_len(lengths[i]);
		measure(cases, 8, rounds);
		printf("%12zu", lengths[i]);
		for (int c = 0; c < 8; c++)
			printf(c < 6 ? "%12.0f" : "%14.0f", cases[c].median);
		printf("\n");
	}
}

static void
table_of_pieces(int rounds)
{
	bench_case	cases[] = {
		{.name = "one HMAC of 31 bytes from kept states", .run = one_hmac},
		{.name = "two bare compressions (half of four)", .run = bare_halves},
		{.name = "one salt from the buffer", .run = one_salt},
		{.name = "one salt, then forget: a statement of one row", .run = one_statement_salt},
		{.name = "open through OpenSSL and forget the key", .run = aead_forget},
	};

	set_len(128);
	measure(cases, 5, rounds);
	cases[1].median /= 2;
	printf("\npieces, ns\n");
	for (int c = 0; c < 5; c++)
		printf("%8.0f  %s\n", cases[c].median, cases[c].name);
}

static void
table_of_crossing(int rounds)
{
	printf("\nAES-256-GCM alone, re-keyed, ns: where the back ends cross\n%8s%10s%10s\n",
		   "bytes", "sodium", "openssl");
	for (size_t n = 256; n <= 2048; n += 128)
	{
		bench_case	cases[] = {{.run = aead_open_sodium}, {.run = aead_open_openssl}};

		set_len(n);
		measure(cases, 2, rounds);
		printf("%8zu%10.0f%10.0f\n", n, cases[0].median, cases[1].median);
	}
}

/* The number that the core is held to: at most 1.3 at 128 bytes. */
static void
ratio(int rounds)
{
	bench_case	cases[] = {
		{.run = open_auto}, {.run = bare_open}, {.run = bare_gcm_open}, {.run = bare_halves}
	};

	set_len(128);
	measure(cases, 4, rounds);
	printf("\nopen of 128 bytes: %.0f ns; "
		   "bare libsodium AES-256-GCM and four SHA-256 compressions: %.0f ns (%.0f + %.0f)\n"
		   "ratio: %.2f\n", cases[0].median, cases[1].median, cases[2].median,
		   cases[3].median, cases[0].median / cases[1].median);
}

int
main(int argc, char **argv)
{
	int			rounds = argc > 1 ? atoi(argv[1]) : 101;
	bool		ratio_alone = argc > 2 && strcmp(argv[2], "ratio") == 0;

	must(rounds > 0 && rounds <= MAX_ROUNDS);
	must(cc_aead_global_init() == CC_OK);
	auto_aead = cc_aead_new(CC_AEAD_AUTO);
	openssl_aead = cc_aead_new(CC_AEAD_OPENSSL);
	sodium_aead = cc_aead_new(CC_AEAD_SODIUM);
	must(auto_aead != NULL && openssl_aead != NULL);
	must(cc_random_bytes(dek, sizeof(dek)) == CC_OK);
	must(cc_message_keys_derive(&keys, dek, chat_id, 1) == CC_OK);

	if (!ratio_alone)
	{
		table_of_lengths(rounds);
		table_of_pieces(rounds);
	}
	if (sodium_aead != NULL)
	{
		if (!ratio_alone)
			table_of_crossing(rounds);
		ratio(rounds * 3 <= MAX_ROUNDS ? rounds * 3 : MAX_ROUNDS);
	}
	else
		printf("\nthis CPU has no AES for libsodium: no crossing and no ratio\n");
	cc_wipe(dek, sizeof(dek));
	cc_wipe(&keys, sizeof(keys));
	cc_aead_free(auto_aead);
	cc_aead_free(openssl_aead);
	cc_aead_free(sodium_aead);
	return 0;
}
