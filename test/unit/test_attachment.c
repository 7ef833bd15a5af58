/*
 * test_attachment.c
 *		Attachment parts: the published answers of c2sp.org/chunked-encryption, lengths
 *		around whole chunks, random access, and chunks and parts that are swapped,
 *		reordered, cut, repeated or said to be others.
 */
#include "harness.h"

#include <openssl/sha.h>

#include "core/attachment.h"
#include "core/envelope.h"

#define VERSION			3
#define SEALED_CHUNK	(CC_CHUNK_LEN + CC_AEAD_TAG_LEN)

static cc_aead *aead;
static const uint8_t key[CC_DEK_LEN] = "an unguessable key of 32 bytes..";
static const uint8_t file_id[CC_ID_LEN] = "the id of a file";
static const cc_part_id first_part = {.file_id = file_id, .part = 0, .last = false};

/*
 * From Wycheproof, testvectors_v1/c2sp_chunked_encryption_aes_256_gcm_test.json,
 * tests 1 to 4; none has a context.  Their ciphertexts are mostly zero bytes: the
 * tags of full chunks, whose ciphertext is zero, and the whole last chunk.
 */
#define SHA512_OF_NOTHING "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" \
	"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"

static const char c2sp_key[] = "59454c4c4f57205355424d4152494e452059454c4c4f57205355424d4152494e";
static const struct
{
	const char *header;
	const char *aead_key;
	const char *base_nonce;
	const char *full_chunk_tags[2];
	const char *last_chunk;
	uint32_t	plaintext_len;
	const char *sha512;
}			c2sp[] = {
	{
		"43a2e39431cbae0389d3fc86adf46f7c3a24de88d9311617"
		"e53f3164cc1d5dc738a66b97f0bf786565c31799c2f463d50a7e10046011dc6f",
		"781b72bce3c966fffb09e5d596e1d21b029b21a9599852fb9b9f644e23b86ae8",
		"f206a92ac0ba380c8e9e3843",
		{NULL}, "c3c939e3a5db7affb6191551669554fb", 0, SHA512_OF_NOTHING
	},
	{
		"a1a1b56f6db58cd1ede0c5c9db62aef20d3f96a6c594bb92"
		"52bb38122de91236502b42a1d7fcab820ffa292940d2f86add212cfa42c38df1",
		"14769f63d5e1008908efe8662d188e058d05be2ef94d5b4bc626bc33be412568",
		"e73f670906cb3124dea731e1",
		{NULL}, "9d3cc9139ee61a5990d3db57433514229beea49a8a72bd", 7,
		"e85f32a85f1d4f7c9b2d36d20eca8435d81253e7075e9dea069eb1b6da48daf9"
		"2ef1797367b520d8a46c4f72cecb85b1daff8887fcb41721d39943d1952fc180"
	},
	{
		"b9eca7d48b49c76acc0a10833699035db2160b30af69f884"
		"4cc09e21ccb4f537032c8fbf2392e57a192821e903fcd16e8508884f64f8c4b2",
		"11efba825aedcfcb8c1b1d8560ca277a5b29fe9597f9b5c82c11433108a97d47",
		"43efc7c07a2635f9bc0b6b6f",
		{"0d3065f8fbdbb7864988647a1f996f74"}, "002d3c1b8479b72d9039922affeee6e704", 16385,
		"db9e441f318209d02c8eaedfa94be7a08d3414057835c80ecea2deb0b16438ff"
		"97ae6dac13a749efe4a24686b01dc0dfab756703e810cc164466cd5cce99b3e8"
	},
	{
		"b2951ea0e09eacf749ea937e3ad22b82d35e92fa629cc049"
		"a8cf5a191b9fcc23878f8697487932504ced9ea90fbb9165846b9354d0b1198c",
		"b705250167fb9e3cec938c76ef122c3da83180f50e3270af97a48892d8c9673d",
		"4f3e7949e78497fcf4641a97",
		{"9376ac03ceb9cd50ef0f08748e46bce3", "e7de8bc36e035b8f28b08284e9f79d3d"},
		"6cecb100232a7657e1b584627c037345", 32768,
		"ccf53be90b5c9bc1aad1fb9b37e86fd60ca86a41401051e636c41e8ddc61b574"
		"d6767d16f035f18391c21ff24d1fa5171c5a537685e7197532884845bf7e990b"
	}
};

static void
c2sp_key_derivation(void)
{
	static const char label[] = "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM";

	for (size_t i = 0; i < sizeof(c2sp) / sizeof(c2sp[0]); i++)
	{
		uint8_t		input_key[CC_DEK_LEN];
		uint8_t		header[CC_CHUNK_SALT_LEN + CC_CHUNK_COMMITMENT_LEN];
		uint8_t		out[CC_AEAD_KEY_LEN + CC_AEAD_NONCE_LEN + CC_CHUNK_COMMITMENT_LEN];

		unit_hex_into(c2sp_key, input_key, sizeof(input_key));
		unit_hex_into(c2sp[i].header, header, sizeof(header));
		CHECK(cc_hkdf512_expand(input_key, label, sizeof(label), header, CC_CHUNK_SALT_LEN, out,
								sizeof(out))
			  == CC_OK);
		CHECK_AT(unit_is_hex(out, 32, c2sp[i].aead_key), i + 1);
		CHECK_AT(unit_is_hex(out + 32, 12, c2sp[i].base_nonce), i + 1);
		CHECK_AT(memcmp(out + 44, header + CC_CHUNK_SALT_LEN, CC_CHUNK_COMMITMENT_LEN) == 0, i + 1);
	}
}

static void
c2sp_chunks(void)
{
	for (size_t i = 0; i < sizeof(c2sp) / sizeof(c2sp[0]); i++)
	{
		cc_part		part = {.plaintext_len = c2sp[i].plaintext_len};
		uint8_t    *message = unit_alloc(c2sp[i].plaintext_len);
		uint8_t		chunk[SEALED_CHUNK];
		uint8_t		digest[SHA512_DIGEST_LENGTH];
		uint8_t    *last;
		size_t		last_len;
		bool		good = true;

		part.chunks = part.plaintext_len / CC_CHUNK_LEN + 1;
		unit_hex_into(c2sp[i].aead_key, part.key, sizeof(part.key));
		unit_hex_into(c2sp[i].base_nonce, part.nonce_stem, sizeof(part.nonce_stem));
		for (uint32_t n = 0; n + 1 < part.chunks; n++)
		{
			memset(chunk, 0, CC_CHUNK_LEN);
			unit_hex_into(c2sp[i].full_chunk_tags[n], chunk + CC_CHUNK_LEN, CC_AEAD_TAG_LEN);
			good = good &&
				cc_part_open_chunk(aead, &part, n, chunk, message + n * CC_CHUNK_LEN) == CC_OK;
		}
		last = unit_hex(c2sp[i].last_chunk, &last_len);
		good = good && last_len == part.plaintext_len % CC_CHUNK_LEN + CC_AEAD_TAG_LEN &&
			cc_part_open_chunk(aead, &part, part.chunks - 1, last,
							   message + (size_t) (part.chunks - 1) * CC_CHUNK_LEN) == CC_OK;
		SHA512(message, part.plaintext_len, digest);
		free(last);
		free(message);
		CHECK_AT(good && unit_is_hex(digest, sizeof(digest), c2sp[i].sha512), i + 1);
	}
}

/* A sealed part and what was sealed; both in memory of their exact length. */
typedef struct sealed_part
{
	uint8_t    *plaintext;
	size_t		plaintext_len;
	uint8_t    *sealed;
	size_t		sealed_len;
} sealed_part;

static sealed_part
seal(const cc_part_id *id, size_t len)
{
	sealed_part p = {.plaintext = unit_alloc(len), .plaintext_len = len};

	unit_fill(p.plaintext, len);
	if (cc_part_sealed_len(len, &p.sealed_len) != CC_OK)
		abort();
	p.sealed = unit_alloc(p.sealed_len);
	if (cc_part_seal(aead, key, VERSION, id, p.plaintext, len, p.sealed) != CC_OK)
		abort();
	return p;
}

static void
discard(sealed_part *p)
{
	free(p->plaintext);
	free(p->sealed);
}

/* Opens these bytes whole.  CC_ERR_ARGUMENT where a failure leaves plaintext behind. */
static cc_status
open_all(const uint8_t *part_key, uint32_t version, const cc_part_id *id, const uint8_t *sealed,
		 size_t sealed_len, const sealed_part *expected)
{
	size_t		room = 0;
	uint8_t    *copy = unit_copy(sealed, sealed_len);
	uint8_t    *plaintext;
	cc_status	status;

	if (cc_part_plaintext_len(sealed_len, &room) != CC_OK)
		room = 0;
	plaintext = unit_alloc(room);
	memset(plaintext, 0xee, room);
	status = cc_part_open_all(aead, part_key, version, id, copy, sealed_len, plaintext);
	if (status != CC_OK && !unit_all_zero(plaintext, room))
		status = CC_ERR_ARGUMENT;
	if (status == CC_OK &&
		(room != expected->plaintext_len || memcmp(plaintext, expected->plaintext, room) != 0))
		status = CC_ERR_ARGUMENT;
	free(copy);
	free(plaintext);
	return status;
}

static const size_t lengths[] = {
	0, 1, 15, 16, 17, 1000, CC_CHUNK_LEN - 1, CC_CHUNK_LEN, CC_CHUNK_LEN + 1, 2 * CC_CHUNK_LEN - 1,
	2 * CC_CHUNK_LEN, 2 * CC_CHUNK_LEN + 1, 5 * CC_CHUNK_LEN + 777
};
#define NLENGTHS (sizeof(lengths) / sizeof(lengths[0]))

static void
parts_of_many_lengths(void)
{
	for (size_t i = 0; i < NLENGTHS; i++)
	{
		sealed_part p = seal(&first_part, lengths[i]);
		cc_status	status = open_all(key, VERSION, &first_part, p.sealed, p.sealed_len, &p);
		size_t		chunks = lengths[i] / CC_CHUNK_LEN + 1;

		discard(&p);
		CHECK_AT(status == CC_OK, lengths[i]);
		CHECK_AT(p.sealed_len == CC_PART_HEADER_LEN + lengths[i] + 16 * chunks, lengths[i]);
	}
}

static void
lengths_are_each_others_inverse(void)
{
	for (size_t sealed_len = 0; sealed_len <= 3 * SEALED_CHUNK + 200; sealed_len++)
	{
		size_t		len;
		size_t		back;
		size_t		in_last = 0;
		cc_status	status = cc_part_plaintext_len(sealed_len, &len);

		if (sealed_len >= CC_PART_HEADER_LEN)
			in_last = (sealed_len - CC_PART_HEADER_LEN) % SEALED_CHUNK;
		CHECK_AT((status == CC_OK) == (in_last >= CC_AEAD_TAG_LEN), sealed_len);
		if (status == CC_OK)
			CHECK_AT(cc_part_sealed_len(len, &back) == CC_OK && back == sealed_len, sealed_len);
		else
			CHECK_AT(status == CC_ERR_TRUNCATED, sealed_len);
	}
}

static void
lengths_over_the_limit(void)
{
	size_t		most;
	size_t		len;
	uint8_t		out[CC_PART_HEADER_LEN];

	CHECK(cc_part_sealed_len(CC_PART_MAX, &most) == CC_OK);
	CHECK(cc_part_plaintext_len(most, &len) == CC_OK && len == CC_PART_MAX);
	CHECK(cc_part_plaintext_len(most + 1, &len) == CC_ERR_TOO_LARGE);
	CHECK(cc_part_plaintext_len(SIZE_MAX, &len) != CC_OK);
	for (size_t less = 0; less < SEALED_CHUNK; less++)
		CHECK_AT(cc_part_plaintext_len(SIZE_MAX - less, &len) != CC_OK, less);
	CHECK(cc_part_sealed_len((size_t) CC_PART_MAX + 1, &len) == CC_ERR_TOO_LARGE);
	CHECK(cc_part_sealed_len(SIZE_MAX, &len) == CC_ERR_TOO_LARGE);

	/* The length is wrong: nothing may be read. */
	CHECK(cc_part_seal(aead, key, VERSION, &first_part, out, SIZE_MAX, out) == CC_ERR_TOO_LARGE);
	CHECK(cc_part_seal(aead, key, 0, &first_part, out, 0, out) == CC_ERR_VERSION);
}

static void
chunk_by_chunk_in_any_order(void)
{
	for (size_t i = 0; i < NLENGTHS; i++)
	{
		sealed_part p = seal(&first_part, lengths[i]);
		uint8_t		header[CC_PART_HEADER_LEN];
		cc_part		part;
		bool		good;

		memcpy(header, p.sealed, sizeof(header));
		good = cc_part_open(&part, key, VERSION, &first_part, header, p.sealed_len) == CC_OK &&
			part.plaintext_len == p.plaintext_len;
		for (uint32_t n = part.chunks; good && n-- > 0;)
		{
			size_t		offset;
			size_t		sealed_len;
			size_t		len;
			uint8_t    *chunk;
			uint8_t    *plaintext;

			good = cc_part_chunk_range(&part, n, &offset, &sealed_len, &len) == CC_OK &&
				offset + sealed_len <= p.sealed_len;
			if (!good)
				break;
			chunk = unit_copy(p.sealed + offset, sealed_len);
			plaintext = unit_alloc(len);
			good = cc_part_open_chunk(aead, &part, n, chunk, plaintext) == CC_OK &&
				memcmp(plaintext, p.plaintext + (size_t) n * CC_CHUNK_LEN, len) == 0;
			free(chunk);
			free(plaintext);
		}
		good = good &&
			cc_part_open_chunk(aead, &part, part.chunks, p.sealed, p.plaintext)
			== CC_ERR_ARGUMENT &&
			cc_part_open_chunk(aead, &part, UINT32_MAX, p.sealed, p.plaintext)
			== CC_ERR_ARGUMENT;
		cc_part_close(&part);
		good = good && unit_all_zero((uint8_t *) &part, sizeof(part));
		discard(&p);
		CHECK_AT(good, lengths[i]);
	}
}

static void
every_byte_of_a_small_part_flipped(void)
{
	sealed_part p = seal(&first_part, 40);

	for (size_t at = 0; at < p.sealed_len; at++)
	{
		cc_status	expected = CC_ERR_AUTH;

		if (at < CC_HEADER_LEN)
			expected = at == 0 ? CC_ERR_SUITE : CC_ERR_VERSION;
		p.sealed[at] ^= 0x10;
		CHECK_AT(open_all(key, VERSION, &first_part, p.sealed, p.sealed_len, &p) == expected, at);
		p.sealed[at] ^= 0x10;
	}
	discard(&p);
}

static void
bytes_of_a_large_part_flipped(void)
{
	sealed_part p = seal(&first_part, 3 * CC_CHUNK_LEN + 5);

	for (size_t at = CC_PART_HEADER_LEN; at < p.sealed_len; at += 1 + unit_number(4000))
	{
		p.sealed[at] ^= 1;
		CHECK_AT(open_all(key, VERSION, &first_part, p.sealed, p.sealed_len, &p) == CC_ERR_AUTH,
				 at);
		p.sealed[at] ^= 1;
	}
	discard(&p);
}

static void
every_length_of_a_small_part_cut(void)
{
	sealed_part p = seal(&first_part, 40);

	for (size_t len = 0; len < p.sealed_len; len++)
	{
		cc_status	expected = CC_ERR_AUTH;

		if (len < CC_PART_HEADER_LEN + CC_AEAD_TAG_LEN)
			expected = CC_ERR_TRUNCATED;
		CHECK_AT(open_all(key, VERSION, &first_part, p.sealed, len, &p) == expected, len);
	}
	discard(&p);
}

/* Cut after a whole chunk, after a whole chunk and the length of a tag, and in between. */
static void
large_parts_cut(void)
{
	sealed_part p = seal(&first_part, 2 * CC_CHUNK_LEN);

	CHECK(p.sealed_len == CC_PART_HEADER_LEN + 2 * SEALED_CHUNK + CC_AEAD_TAG_LEN);
	for (size_t chunks = 0; chunks <= 2; chunks++)
		for (size_t more = 0; more <= CC_AEAD_TAG_LEN; more++)
		{
			size_t		len = CC_PART_HEADER_LEN + chunks * SEALED_CHUNK + more;
			cc_status	expected = more < CC_AEAD_TAG_LEN ? CC_ERR_TRUNCATED : CC_ERR_AUTH;

			if (len == p.sealed_len)
				expected = CC_OK;
			CHECK_AT(open_all(key, VERSION, &first_part, p.sealed, len, &p) == expected, len);
		}
	discard(&p);
}

static void
chunks_swapped_repeated_left_out_or_added(void)
{
	sealed_part p = seal(&first_part, 3 * CC_CHUNK_LEN + 100);
	size_t		last_len = 100 + CC_AEAD_TAG_LEN;
	uint8_t    *forged = unit_alloc(p.sealed_len + SEALED_CHUNK);
	uint8_t    *chunks = forged + CC_PART_HEADER_LEN;
	const uint8_t *from = p.sealed + CC_PART_HEADER_LEN;

	/* 1 0 2 last */
	memcpy(forged, p.sealed, p.sealed_len);
	memcpy(chunks, from + SEALED_CHUNK, SEALED_CHUNK);
	memcpy(chunks + SEALED_CHUNK, from, SEALED_CHUNK);
	CHECK(open_all(key, VERSION, &first_part, forged, p.sealed_len, &p) == CC_ERR_AUTH);

	/* 0 0 2 last */
	memcpy(chunks, from, SEALED_CHUNK);
	CHECK(open_all(key, VERSION, &first_part, forged, p.sealed_len, &p) == CC_ERR_AUTH);

	/* 0 2 last */
	memcpy(chunks + SEALED_CHUNK, from + 2 * SEALED_CHUNK, SEALED_CHUNK + last_len);
	CHECK(open_all(key, VERSION, &first_part, forged, p.sealed_len - SEALED_CHUNK, &p)
		  == CC_ERR_AUTH);

	/* 0 1 2 2 last */
	memcpy(forged, p.sealed, p.sealed_len);
	memcpy(chunks + 3 * SEALED_CHUNK, from + 2 * SEALED_CHUNK, SEALED_CHUNK + last_len);
	CHECK(open_all(key, VERSION, &first_part, forged, p.sealed_len + SEALED_CHUNK, &p)
		  == CC_ERR_AUTH);

	/* 0 1 2 last last */
	memcpy(forged, p.sealed, p.sealed_len);
	memcpy(forged + p.sealed_len, from + 3 * SEALED_CHUNK, last_len);
	CHECK(open_all(key, VERSION, &first_part, forged, p.sealed_len + last_len, &p) == CC_ERR_AUTH);

	/* 0 1 2, and then the last chunk cut to its tag */
	memcpy(forged, p.sealed, p.sealed_len);
	memcpy(chunks + 3 * SEALED_CHUNK, p.sealed + p.sealed_len - CC_AEAD_TAG_LEN, CC_AEAD_TAG_LEN);
	CHECK(open_all(key, VERSION, &first_part, forged, p.sealed_len - 100, &p) == CC_ERR_AUTH);
	free(forged);
	discard(&p);
}

/* Chunks of another part that was sealed under the same key. */
static void
chunks_of_another_part(void)
{
	sealed_part a = seal(&first_part, 2 * CC_CHUNK_LEN);
	sealed_part b = seal(&first_part, 2 * CC_CHUNK_LEN);

	memcpy(a.sealed + CC_PART_HEADER_LEN, b.sealed + CC_PART_HEADER_LEN, SEALED_CHUNK);
	CHECK(open_all(key, VERSION, &first_part, a.sealed, a.sealed_len, &a) == CC_ERR_AUTH);
	memcpy(a.sealed, b.sealed, CC_PART_HEADER_LEN);
	CHECK(open_all(key, VERSION, &first_part, a.sealed, a.sealed_len, &a) == CC_ERR_AUTH);
	discard(&a);
	discard(&b);
}

static void
said_to_be_another_part(void)
{
	static const uint8_t aad[3] = "aad";
	sealed_part p = seal(&first_part, 10);
	uint8_t		other_file[CC_ID_LEN];
	uint8_t		other_key[CC_DEK_LEN];
	cc_part_id	id = first_part;

	id.part = 1;
	CHECK(open_all(key, VERSION, &id, p.sealed, p.sealed_len, &p) == CC_ERR_AUTH);
	id = first_part;
	id.last = true;
	CHECK(open_all(key, VERSION, &id, p.sealed, p.sealed_len, &p) == CC_ERR_AUTH);
	id = first_part;
	id.aad = aad;
	id.aad_len = sizeof(aad);
	CHECK(open_all(key, VERSION, &id, p.sealed, p.sealed_len, &p) == CC_ERR_AUTH);
	id = first_part;
	id.file_id = other_file;
	for (int bit = 0; bit < 128; bit++)
	{
		memcpy(other_file, file_id, sizeof(other_file));
		other_file[bit / 8] ^= (uint8_t) (1 << (bit % 8));
		CHECK_AT(open_all(key, VERSION, &id, p.sealed, p.sealed_len, &p) == CC_ERR_AUTH, bit);
	}
	memcpy(other_key, key, sizeof(other_key));
	other_key[31] ^= 1;
	CHECK(open_all(other_key, VERSION, &first_part, p.sealed, p.sealed_len, &p) == CC_ERR_AUTH);
	CHECK(open_all(key, VERSION + 1, &first_part, p.sealed, p.sealed_len, &p) == CC_ERR_VERSION);
	CHECK(open_all(key, 0, &first_part, p.sealed, p.sealed_len, &p) == CC_ERR_VERSION);

	/* The version is in the context too: changing it in both places does not help. */
	p.sealed[4] = VERSION + 1;
	CHECK(open_all(key, VERSION + 1, &first_part, p.sealed, p.sealed_len, &p) == CC_ERR_AUTH);
	discard(&p);
}

static void
parts_with_aad(void)
{
	uint8_t    *aad = unit_alloc(CC_AAD_MAX);
	cc_part_id	id = {.file_id = file_id, .part = 9, .last = true, .aad = aad};

	unit_fill(aad, CC_AAD_MAX);
	for (id.aad_len = 0; id.aad_len <= CC_AAD_MAX; id.aad_len = id.aad_len * 3 + 1)
	{
		sealed_part p = seal(&id, 20);
		cc_status	status = open_all(key, VERSION, &id, p.sealed, p.sealed_len, &p);
		cc_status	shorter;

		id.aad_len ^= 1;
		shorter = open_all(key, VERSION, &id, p.sealed, p.sealed_len, &p);
		id.aad_len ^= 1;
		discard(&p);
		CHECK_AT(status == CC_OK && shorter == CC_ERR_AUTH, id.aad_len);
	}
	id.aad_len = (size_t) CC_AAD_MAX + 1;
	CHECK(cc_part_seal(aead, key, VERSION, &id, NULL, 0, aad) == CC_ERR_TOO_LARGE);
	CHECK(cc_part_open_all(aead, key, VERSION, &id, (const uint8_t *) "\2\0\0\0\3", 5, NULL)
		  == CC_ERR_TOO_LARGE);
	free(aad);
}

static void
a_part_sent_again_has_a_fresh_salt(void)
{
	sealed_part a = seal(&first_part, 100);
	sealed_part b = seal(&first_part, 100);

	CHECK(memcmp(a.sealed + CC_HEADER_LEN, b.sealed + CC_HEADER_LEN, CC_CHUNK_SALT_LEN) != 0);
	discard(&a);
	discard(&b);
}

int
main(void)
{
	aead = cc_aead_new(CC_AEAD_AUTO);
	if (aead == NULL)
		return 1;
	RUN(c2sp_key_derivation);
	RUN(c2sp_chunks);
	RUN(parts_of_many_lengths);
	RUN(lengths_are_each_others_inverse);
	RUN(lengths_over_the_limit);
	RUN(chunk_by_chunk_in_any_order);
	RUN(every_byte_of_a_small_part_flipped);
	RUN(bytes_of_a_large_part_flipped);
	RUN(every_length_of_a_small_part_cut);
	RUN(large_parts_cut);
	RUN(chunks_swapped_repeated_left_out_or_added);
	RUN(chunks_of_another_part);
	RUN(said_to_be_another_part);
	RUN(parts_with_aad);
	RUN(a_part_sent_again_has_a_fresh_salt);
	cc_aead_free(aead);
	return unit_done();
}
