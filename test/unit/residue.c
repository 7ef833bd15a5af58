/*
 * residue.c
 *		After every kind of seal and open: is a key left anywhere in this process?
 *
 * Each operation runs on a stack of its own that was filled with a pattern.  Then
 * its owner does what owners must (forgets the AES context, wipes the keys that
 * it declared), and all writable memory is searched: that stack, the heap with
 * its freed blocks, the data of every library, the main stack.  Searched for are
 * DEK, PRK, K(use), message key and AES round keys, HMAC states, and what a master
 * key derives; as bytes, byte-swapped words, and under HMAC's two pads; in pieces
 * of eight bytes, so that one spilled register is enough.
 *
 * What to look for is worked out in a child process and comes back under a mask,
 * so that the searcher holds no secret itself; secrets that an operation needs
 * are unmasked for its duration alone.  Two controls leave something behind on
 * purpose, and must be caught.
 *
 * Not for ASAN or valgrind, whose shadows keep copies.
 */
#define OPENSSL_SUPPRESS_DEPRECATED	/* AES_set_encrypt_key, for the round keys to look for */

#include "harness.h"

#include <openssl/aes.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/attachment.h"
#include "core/blind.h"
#include "core/envelope.h"
#include "core/localwrap.h"
#include "core/random.h"
#include "core/secretbox.h"

#define MASK		UINT64_C(0x5bd1e995a7c3f02d)
#define STACK_LEN	(256 * 1024)
#define POISON		0xa5
#define VERSION		9
#define SHORT_LEN	100			/* libsodium's, where there is one */
#define LONG_LEN	5000		/* OpenSSL's */
#define PART_LEN	20000
#define NEEDLES_MAX 4096

typedef struct needle
{
	uint64_t	masked;
	char		name[24];
} needle;

static needle needles[NEEDLES_MAX];
static int	nneedles;

/* The arguments of the operation.  The secrets in it exist only while it runs. */
static uint8_t dek[CC_DEK_LEN];
static uint8_t master[32];
static cc_message_keys keys;
static uint8_t opened[PART_LEN];
static cc_aead *aead;

/* This part is not secret. */
static const uint8_t chat_id[CC_ID_LEN] = "the chat's id...";
static const uint8_t message_id[CC_ID_LEN] = "a message's id..";
static const uint8_t salt[CC_CHUNK_SALT_LEN] = "as salty as it could be.";
static const cc_part_id part_id = {.file_id = message_id, .part = 2, .last = true};
static uint8_t masked_dek[CC_DEK_LEN];
static uint8_t masked_master[32];
static uint8_t plaintext[PART_LEN];
static uint8_t short_envelope[SHORT_LEN + CC_ENVELOPE_OVERHEAD];
static uint8_t long_envelope[LONG_LEN + CC_ENVELOPE_OVERHEAD];
static uint8_t box[SHORT_LEN + CC_SECRETBOX_OVERHEAD];
static uint8_t sealed_part[PART_LEN + 1000];
static size_t sealed_part_len;
static uint8_t wrapped[CC_LOCALWRAP_LEN];
static uint8_t damaged[LONG_LEN + CC_ENVELOPE_OVERHEAD];

/* Everything that the child sends. */
typedef struct report
{
	int			nneedles;
	needle		needles[NEEDLES_MAX];
	uint8_t		masked_dek[CC_DEK_LEN];
	uint8_t		masked_master[32];
	uint8_t		short_envelope[sizeof(short_envelope)];
	uint8_t		long_envelope[sizeof(long_envelope)];
	uint8_t		box[sizeof(box)];
	uint8_t		sealed_part[sizeof(sealed_part)];
	size_t		sealed_part_len;
	uint8_t		wrapped[sizeof(wrapped)];
} report;

static void
must(bool ok)
{
	if (ok)
		return;
	printf("Bail out! residue: the test itself failed\n");
	_exit(1);
}

static void
mask_bytes(uint8_t *to, const uint8_t *from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		to[i] = from[i] ^ (uint8_t) (MASK >> (8 * (i % 8)));
}

/* ---- in the child: what to look for ---- */

static void
add_pieces(const char *name, const uint8_t *bytes, size_t len)
{
	for (size_t at = 0; at + 8 <= len; at += 8)
	{
		uint64_t	piece;

		must(nneedles < NEEDLES_MAX);
		memcpy(&piece, bytes + at, 8);
		needles[nneedles].masked = piece ^ MASK;
		snprintf(needles[nneedles].name, sizeof(needles[nneedles].name), "%s", name);
		nneedles++;
	}
}

/* The bytes, and the same with the bytes of each word swapped, as a hash holds its block. */
static void
add_both_ways(const char *name, const uint8_t *bytes, size_t len)
{
	uint8_t		swapped[64];

	must(len <= sizeof(swapped));
	for (size_t i = 0; i < len; i++)
		swapped[i] = bytes[i / 4 * 4 + 3 - i % 4];
	add_pieces(name, bytes, len);
	add_pieces(name, swapped, len);

	/* 64-bit words, for SHA-512 */
	for (size_t i = 0; i < len; i++)
		swapped[i] = bytes[i / 8 * 8 + 7 - i % 8];
	add_pieces(name, swapped, len);
}

static uint32_t
rotated(uint32_t word, int by)
{
	return word >> by | word << (32 - by);
}

/*
 * SHA-256's schedule of a block, each word with its round constant added: what
 * OpenSSL's code for CPUs without SHA-NI keeps in its stack frame, and from which
 * the block can be had back.
 */
static void
add_schedule(const char *name, const uint8_t block[64])
{
	static const uint32_t constants[64] = {
		0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5,
		0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
		0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
		0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
		0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
		0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
		0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
		0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
		0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
		0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
		0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
		0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
		0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
		0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
		0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
		0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
	};
	uint32_t	w[64];
	uint32_t	sums[64];

	for (int t = 0; t < 64; t++)
	{
		if (t < 16)
			w[t] = (uint32_t) block[4 * t] << 24 | (uint32_t) block[4 * t + 1] << 16 |
				(uint32_t) block[4 * t + 2] << 8 | block[4 * t + 3];
		else
			w[t] = w[t - 16] + w[t - 7] +
				(rotated(w[t - 15], 7) ^ rotated(w[t - 15], 18) ^ w[t - 15] >> 3) +
				(rotated(w[t - 2], 17) ^ rotated(w[t - 2], 19) ^ w[t - 2] >> 10);
		sums[t] = w[t] + constants[t];
	}

	/* Words 8 to 14 are the pad alone, the same for every key. */
	add_pieces(name, (uint8_t *) w, 32);
	add_pieces(name, (uint8_t *) sums, 32);
	add_pieces(name, (uint8_t *) (w + 24), sizeof(w) - 24 * sizeof(w[0]));
	add_pieces(name, (uint8_t *) (sums + 24), sizeof(sums) - 24 * sizeof(sums[0]));
}

static void
add_hmac_key(const char *name, const uint8_t key[32])
{
	static const uint8_t pads[] = {0x36, 0x5c};
	cc_hmac_key states;
	uint8_t		padded[64];

	cc_hmac_key_init(&states, key, 32);
	add_both_ways(name, key, 32);
	add_both_ways(name, (uint8_t *) states.inner, sizeof(states.inner));
	add_both_ways(name, (uint8_t *) states.outer, sizeof(states.outer));
	for (size_t p = 0; p < sizeof(pads); p++)
	{
		memset(padded, pads[p], sizeof(padded));
		for (int i = 0; i < 32; i++)
			padded[i] ^= key[i];
		add_both_ways(name, padded, 32);
		add_schedule(name, padded);
	}
}

static void
add_aes_key(const char *name, const uint8_t key[32])
{
	AES_KEY		schedule;
	uint8_t		round[16];

	must(AES_set_encrypt_key(key, 256, &schedule) == 0);
	for (int r = 0; r <= schedule.rounds; r++)
	{
		/* Low-level AES may keep the schedule in either byte order, so look for both. */
		memcpy(round, &schedule.rd_key[4 * r], sizeof(round));
		add_both_ways(name, round, sizeof(round));
	}
	add_both_ways(name, key, 32);
}

static void
add_message(const cc_message_keys *from, const uint8_t *its_salt)
{
	uint8_t		info[2 + CC_SALT_LEN + CC_ID_LEN] = "m1";
	uint8_t		key[CC_AEAD_KEY_LEN];

	memcpy(info + 2, its_salt, CC_SALT_LEN);
	memcpy(info + 2 + CC_SALT_LEN, message_id, CC_ID_LEN);
	must(cc_hkdf_expand(&from->message, info, sizeof(info), key, sizeof(key)) == CC_OK);
	add_aes_key("key of the message", key);
}

static void
add_data_keys(void)
{
	static const char *const names[] = {"K(message)", "K(commit)", "K(attachment)", "K(search)"};
	uint8_t		key[CC_DEK_LEN];

	add_hmac_key("DEK", dek);
	cc_hkdf_extract("chatcrypt/v1", 12, dek, sizeof(dek), key);
	add_hmac_key("PRK", key);
	for (int use = CC_USE_MESSAGE; use <= CC_USE_SEARCH; use++)
	{
		must(cc_dek_derive(dek, chat_id, VERSION, (cc_key_use) use, key) == CC_OK);
		add_hmac_key(names[use], key);
	}
}

static void
add_part(const uint8_t *attachment_key)
{
	cc_part		part;

	must(cc_part_open(&part, attachment_key, VERSION, &part_id, sealed_part, sealed_part_len)
		 == CC_OK);
	add_aes_key("key of the part", part.key);
}

static void
add_box_key(const uint8_t *nonce)
{
	uint8_t		subkey[32];

	must(crypto_core_hsalsa20(subkey, nonce, dek, NULL) == 0);
	add_both_ways("subkey of the box", subkey, sizeof(subkey));
}

static void
add_wrap_keys(void)
{
	uint8_t		prk[CC_SHA256_LEN];
	uint8_t		info[18 + CC_CONTEXT_LEN];
	uint8_t		derived[44];
	cc_hmac_key prk_key;

	add_hmac_key("master key", master);
	cc_hkdf_extract(salt, CC_LOCALWRAP_SALT_LEN, master, sizeof(master), prk);
	add_hmac_key("PRK of the wrapping", prk);
	cc_hmac_key_init(&prk_key, prk, sizeof(prk));
	memcpy(info, "chatcrypt/v1/local", 18);
	memcpy(info + 18, plaintext, CC_CONTEXT_LEN);
	must(cc_hkdf_expand(&prk_key, info, sizeof(info), derived, sizeof(derived)) == CC_OK);
	add_aes_key("key of the wrapping", derived);
}

static void
make_needles(void)
{
	uint8_t		attachment_key[CC_DEK_LEN];

	must(cc_random_bytes(dek, sizeof(dek)) == CC_OK);
	must(cc_random_bytes(master, sizeof(master)) == CC_OK);
	must(cc_message_keys_derive(&keys, dek, chat_id, VERSION) == CC_OK);
	must(cc_envelope_seal_salted(aead, &keys, VERSION, message_id, salt, NULL, 0, plaintext,
								 SHORT_LEN, short_envelope) == CC_OK);
	must(cc_envelope_seal_salted(aead, &keys, VERSION, message_id, salt, NULL, 0, plaintext,
								 LONG_LEN, long_envelope) == CC_OK);
	must(cc_secretbox_seal_nonce(dek, VERSION, salt, plaintext, SHORT_LEN, box) == CC_OK);
	must(cc_part_sealed_len(PART_LEN, &sealed_part_len) == CC_OK);
	must(cc_dek_derive(dek, chat_id, VERSION, CC_USE_ATTACHMENT, attachment_key) == CC_OK);
	must(cc_part_seal_salted(aead, attachment_key, VERSION, &part_id, salt, plaintext, PART_LEN,
							 sealed_part)
		 == CC_OK);
	must(cc_localwrap_seal_salted(aead, master, VERSION, plaintext, salt, dek, wrapped) == CC_OK);

	add_data_keys();
	add_message(&keys, salt);
	add_part(attachment_key);
	add_box_key(salt);
	add_wrap_keys();
}

static void
write_report(int to)
{
	static report r;
	size_t		done = 0;

	r.nneedles = nneedles;
	memcpy(r.needles, needles, sizeof(needles));
	mask_bytes(r.masked_dek, dek, sizeof(dek));
	mask_bytes(r.masked_master, master, sizeof(master));
	memcpy(r.short_envelope, short_envelope, sizeof(short_envelope));
	memcpy(r.long_envelope, long_envelope, sizeof(long_envelope));
	memcpy(r.box, box, sizeof(box));
	memcpy(r.sealed_part, sealed_part, sizeof(sealed_part));
	r.sealed_part_len = sealed_part_len;
	memcpy(r.wrapped, wrapped, sizeof(wrapped));
	while (done < sizeof(r))
	{
		ssize_t		n = write(to, (char *) &r + done, sizeof(r) - done);

		must(n > 0);
		done += (size_t) n;
	}
}

static void
read_report(int from)
{
	static report r;
	size_t		done = 0;

	while (done < sizeof(r))
	{
		ssize_t		n = read(from, (char *) &r + done, sizeof(r) - done);

		must(n > 0);
		done += (size_t) n;
	}
	nneedles = r.nneedles;
	memcpy(needles, r.needles, sizeof(needles));
	memcpy(masked_dek, r.masked_dek, sizeof(masked_dek));
	memcpy(masked_master, r.masked_master, sizeof(masked_master));
	memcpy(short_envelope, r.short_envelope, sizeof(short_envelope));
	memcpy(long_envelope, r.long_envelope, sizeof(long_envelope));
	memcpy(box, r.box, sizeof(box));
	memcpy(sealed_part, r.sealed_part, sizeof(sealed_part));
	sealed_part_len = r.sealed_part_len;
	memcpy(wrapped, r.wrapped, sizeof(wrapped));
}

/* ---- the search ---- */

static int
compare_needles(const void *a, const void *b)
{
	uint64_t	x = ((const needle *) a)->masked;
	uint64_t	y = ((const needle *) b)->masked;

	return (x > y) - (x < y);
}

static const char *
match(uint64_t masked)
{
	int			low = 0;
	int			high = nneedles - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;

		if (needles[middle].masked == masked)
			return needles[middle].name;
		if (needles[middle].masked < masked)
			low = middle + 1;
		else
			high = middle - 1;
	}
	return NULL;
}

static int
search_range(const uint8_t *start, const uint8_t *end, const char *where)
{
	int			found = 0;
	const char *name;

	for (const uint8_t *at = start; at + 8 <= end; at++)
	{
		uint64_t	piece;

		memcpy(&piece, at, 8);
		name = match(piece ^ MASK);
		if (name == NULL)
			continue;
		if (found++ < 3)
			printf("# %s, 8 bytes of it, at %p in %s\n", name, (const void *) at, where);
	}
	return found;
}

/* Searches all writable memory; returns how many pieces it found. */
static int
search(const uint8_t *own_stack)
{
	char		line[512];
	int			found = 0;
	FILE	   *maps = fopen("/proc/self/maps", "r");

	must(maps != NULL);
	while (fgets(line, sizeof(line), maps) != NULL)
	{
		unsigned long start;
		unsigned long end;
		char		perms[5];
		char		path[256] = "anonymous memory";

		if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %255s", &start, &end, perms, path) < 3)
			continue;
		if (perms[0] != 'r' || perms[1] != 'w' || strcmp(path, "[vvar]") == 0)
			continue;
		if ((const uint8_t *) start <= own_stack && own_stack < (const uint8_t *) end)
			strcpy(path, "the stack of the operation");
		found += search_range((const uint8_t *) start, (const uint8_t *) end, path);
	}
	fclose(maps);
	return found;
}

/* ---- the operations ---- */

static void (*operation) (void);
static ucontext_t main_context;

static void
run_on_own_stack(void)
{
	operation();
}

/* Runs the operation, lets its owner clean up, and counts what is left. */
static int
residue_of(void (*op) (void), bool forget)
{
	ucontext_t	context;
	uint8_t    *stack = mmap(NULL, STACK_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
							 -1, 0);
	int			found;

	must(stack != MAP_FAILED);
	memset(stack, POISON, STACK_LEN);
	mask_bytes(dek, masked_dek, sizeof(dek));
	mask_bytes(master, masked_master, sizeof(master));
	operation = op;
	must(getcontext(&context) == 0);
	context.uc_stack.ss_sp = stack;
	context.uc_stack.ss_size = STACK_LEN;
	context.uc_link = &main_context;
	makecontext(&context, run_on_own_stack, 0);
	must(swapcontext(&main_context, &context) == 0);

	if (forget)
		cc_aead_forget(aead);
	cc_wipe(dek, sizeof(dek));
	cc_wipe(master, sizeof(master));
	cc_wipe(&keys, sizeof(keys));
	cc_wipe(opened, sizeof(opened));
	found = search(stack);
	munmap(stack, STACK_LEN);
	return found;
}

static void
derive_states(void)
{
	must(cc_message_keys_derive(&keys, dek, chat_id, VERSION) == CC_OK);
}

static void
derive_kcv(void)
{
	must(cc_dek_kcv(dek, chat_id, VERSION, opened) == CC_OK);
}

static void
seal_short(void)
{
	derive_states();
	must(cc_envelope_seal_salted(aead, &keys, VERSION, message_id, salt, NULL, 0, plaintext,
								 SHORT_LEN, opened) == CC_OK);
}

static void
seal_long(void)
{
	derive_states();
	must(cc_envelope_seal_salted(aead, &keys, VERSION, message_id, salt, NULL, 0, plaintext,
								 LONG_LEN, opened) == CC_OK);
}

static void
open_short(void)
{
	derive_states();
	must(cc_envelope_open(aead, &keys, VERSION, message_id, NULL, 0, short_envelope,
						  sizeof(short_envelope), opened) == CC_OK);
}

static void
open_long(void)
{
	derive_states();
	must(cc_envelope_open(aead, &keys, VERSION, message_id, NULL, 0, long_envelope,
						  sizeof(long_envelope), opened) == CC_OK);
}

/* at: the offset of the damaged byte. */
static void
open_damaged(const uint8_t *envelope, size_t len, size_t at)
{
	derive_states();
	memcpy(damaged, envelope, len);
	damaged[at] ^= 1;
	must(cc_envelope_open(aead, &keys, VERSION, message_id, NULL, 0, damaged, len, opened)
		 == CC_ERR_AUTH);
}

static void
open_wrong_commitment(void)
{
	open_damaged(short_envelope, sizeof(short_envelope), CC_HEADER_LEN + CC_SALT_LEN);
}

static void
open_wrong_tag_short(void)
{
	open_damaged(short_envelope, sizeof(short_envelope), sizeof(short_envelope) - 1);
}

static void
open_wrong_tag_long(void)
{
	open_damaged(long_envelope, sizeof(long_envelope), sizeof(long_envelope) - 1);
}

static void
attachment(bool sealing)
{
	static uint8_t out[sizeof(sealed_part)];
	uint8_t		key[CC_DEK_LEN];

	must(cc_dek_derive(dek, chat_id, VERSION, CC_USE_ATTACHMENT, key) == CC_OK);
	if (sealing)
		must(cc_part_seal_salted(aead, key, VERSION, &part_id, salt, plaintext, PART_LEN, out)
			 == CC_OK);
	else
		must(cc_part_open_all(aead, key, VERSION, &part_id, sealed_part, sealed_part_len, opened)
			 == CC_OK);
	cc_wipe(key, sizeof(key));
}

/* at: the offset of the damaged byte of the header; none if it is past the end. */
static void
open_part_header(size_t at, cc_status expected)
{
	uint8_t		key[CC_DEK_LEN];
	uint8_t		header[CC_PART_HEADER_LEN];
	cc_part		part;

	memcpy(header, sealed_part, sizeof(header));
	if (at < sizeof(header))
		header[at] ^= 1;
	must(cc_dek_derive(dek, chat_id, VERSION, CC_USE_ATTACHMENT, key) == CC_OK);
	must(cc_part_open(&part, key, VERSION, &part_id, header, sealed_part_len) == expected);
	if (expected == CC_OK)
		cc_part_close(&part);
	cc_wipe(key, sizeof(key));
}

static void
open_part_and_close(void)
{
	open_part_header(SIZE_MAX, CC_OK);
}

static void
open_part_wrong_commitment(void)
{
	open_part_header(CC_PART_HEADER_LEN - 1, CC_ERR_AUTH);
}

/* The derivation of the wrapping by itself, with no AES to write over what it leaves. */
static void
derive_wrapping(void)
{
	uint8_t		prk[CC_SHA256_LEN];
	uint8_t		info[18 + CC_CONTEXT_LEN] = "chatcrypt/v1/local";
	uint8_t		derived[44];
	cc_hmac_key prk_key;

	memcpy(info + 18, plaintext, CC_CONTEXT_LEN);
	cc_hkdf_extract(salt, CC_LOCALWRAP_SALT_LEN, master, sizeof(master), prk);
	cc_hmac_key_init(&prk_key, prk, sizeof(prk));
	must(cc_hkdf_expand(&prk_key, info, sizeof(info), derived, sizeof(derived)) == CC_OK);
	cc_wipe(prk, sizeof(prk));
	cc_wipe(&prk_key, sizeof(prk_key));
	cc_wipe(derived, sizeof(derived));
}

static void
seal_part(void)
{
	attachment(true);
}

static void
open_part(void)
{
	attachment(false);
}

static void
seal_box(void)
{
	must(cc_secretbox_seal_nonce(dek, VERSION, salt, plaintext, SHORT_LEN, opened) == CC_OK);
}

static void
open_box(void)
{
	must(cc_secretbox_open(dek, VERSION, box, sizeof(box), opened) == CC_OK);
}

static void
wrap(void)
{
	must(cc_localwrap_seal_salted(aead, master, VERSION, plaintext, salt, dek, opened) == CC_OK);
}

static void
unwrap(void)
{
	must(cc_localwrap_open(aead, master, VERSION, plaintext, wrapped, sizeof(wrapped), dek)
		 == CC_OK);
}

static void
blind(void)
{
	uint8_t		key[CC_DEK_LEN];
	uint8_t		token[CC_BLIND_LEN];
	cc_hmac_key search_key;

	must(cc_dek_derive(dek, chat_id, VERSION, CC_USE_SEARCH, key) == CC_OK);
	cc_hmac_key_init(&search_key, key, sizeof(key));
	must(cc_blind_token(&search_key, CC_BLIND_WORD, "hello", 5, 64, token) == CC_OK);
	cc_wipe(key, sizeof(key));
	cc_wipe(&search_key, sizeof(search_key));
}

/* The search must find a key left on the stack, and one in a freed block. */
static void
leak_on_stack(void)
{
	uint8_t		copy[CC_DEK_LEN];

	memcpy(copy, dek, sizeof(copy));
	__asm__ volatile("" : : "r" (copy) : "memory");
}

static void
leak_in_freed_block(void)
{
	uint8_t    *copy = malloc(200);

	must(copy != NULL);
	memcpy(copy + 64, dek, sizeof(dek));
	__asm__ volatile("" : : "r" (copy) : "memory");
	free(copy);
}

#define LEAVES_NOTHING(op) \
	static void op##_leaves_nothing(void) { CHECK(residue_of(op, true) == 0); }

LEAVES_NOTHING(derive_states)
LEAVES_NOTHING(derive_kcv)
LEAVES_NOTHING(seal_short)
LEAVES_NOTHING(seal_long)
LEAVES_NOTHING(open_short)
LEAVES_NOTHING(open_long)
LEAVES_NOTHING(open_wrong_commitment)
LEAVES_NOTHING(open_wrong_tag_short)
LEAVES_NOTHING(open_wrong_tag_long)
LEAVES_NOTHING(seal_part)
LEAVES_NOTHING(open_part)
LEAVES_NOTHING(open_part_and_close)
LEAVES_NOTHING(open_part_wrong_commitment)
LEAVES_NOTHING(derive_wrapping)
LEAVES_NOTHING(seal_box)
LEAVES_NOTHING(open_box)
LEAVES_NOTHING(wrap)
LEAVES_NOTHING(unwrap)
LEAVES_NOTHING(blind)

static void
search_finds_a_key_on_the_stack(void)
{
	CHECK(residue_of(leak_on_stack, true) > 0);
}

static void
search_finds_a_context_not_forgotten(void)
{
	int			found = residue_of(open_short, false);

	cc_aead_forget(aead);
	CHECK(found > 0);
	found = residue_of(open_long, false);
	cc_aead_forget(aead);
	CHECK(found > 0);
}

/* This must be the last test, because what it leaves stays. */
static void
search_finds_a_key_in_a_freed_block(void)
{
	CHECK(residue_of(leak_in_freed_block, true) > 0);
}

int
main(void)
{
	int			ends[2];
	int			status;
	pid_t		pid;

	aead = cc_aead_new(CC_AEAD_AUTO);
	must(aead != NULL && pipe(ends) == 0);
	unit_fill(plaintext, sizeof(plaintext));
	pid = fork();
	must(pid >= 0);
	if (pid == 0)
	{
		make_needles();
		write_report(ends[1]);
		_exit(0);
	}
	read_report(ends[0]);
	must(waitpid(pid, &status, 0) == pid && status == 0 && nneedles > 0);
	qsort(needles, (size_t) nneedles, sizeof(needle), compare_needles);

	RUN(derive_states_leaves_nothing);
	RUN(derive_kcv_leaves_nothing);
	RUN(seal_short_leaves_nothing);
	RUN(seal_long_leaves_nothing);
	RUN(open_short_leaves_nothing);
	RUN(open_long_leaves_nothing);
	RUN(open_wrong_commitment_leaves_nothing);
	RUN(open_wrong_tag_short_leaves_nothing);
	RUN(open_wrong_tag_long_leaves_nothing);
	RUN(seal_part_leaves_nothing);
	RUN(open_part_leaves_nothing);
	RUN(open_part_and_close_leaves_nothing);
	RUN(open_part_wrong_commitment_leaves_nothing);
	RUN(derive_wrapping_leaves_nothing);
	RUN(seal_box_leaves_nothing);
	RUN(open_box_leaves_nothing);
	RUN(wrap_leaves_nothing);
	RUN(unwrap_leaves_nothing);
	RUN(blind_leaves_nothing);
	RUN(search_finds_a_key_on_the_stack);
	RUN(search_finds_a_context_not_forgotten);
	RUN(search_finds_a_key_in_a_freed_block);
	cc_aead_free(aead);
	return unit_done();
}
