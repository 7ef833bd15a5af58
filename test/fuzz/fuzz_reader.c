/*
 * fuzz_reader.c
 *		The bounded reader and writer that every parser stands on, against offsets
 *		counted by hand.
 *
 * Input: u16 length of the buffer, the buffer, and the steps: one byte each, for
 * lengths two more.
 */
#include "fuzz.h"

typedef struct model
{
	size_t		at;
	bool		failed;
} model;

/* True where len more bytes are there; a model that failed once stays failed. */
static bool
advance(model *m, size_t capacity, size_t len)
{
	m->failed = m->failed || len > capacity - m->at;
	if (!m->failed)
		m->at += len;
	return !m->failed;
}

/* A step is for one byte, for a u32, or for as many bytes as its two bytes of length say. */
static size_t
step_len(fuzz_input *steps, uint8_t step)
{
	if (step % 3 == 2)
		return (size_t) fuzz_number(steps, 2);
	return step % 3 == 1 ? 4 : 1;
}

static void
read_step(fuzz_input *steps, cc_reader *r, model *m, fuzz_bytes buffer)
{
	const uint8_t *start = buffer.data + m->at;
	uint8_t		step = (uint8_t) fuzz_number(steps, 1);
	size_t		len = step_len(steps, step);
	bool		there = advance(m, buffer.len, len);

	if (step % 3 == 0)
	{
		uint8_t		found = cc_read_u8(r);

		DEMAND(!there || found == start[0]);
	}
	else if (step % 3 == 1)
	{
		uint32_t	found = cc_read_u32(r);

		DEMAND(!there || found == ((uint32_t) start[0] << 24 | (uint32_t) start[1] << 16 |
								   (uint32_t) start[2] << 8 | start[3]));
	}
	else
		DEMAND(cc_read_bytes(r, len) == (there ? start : NULL));
	DEMAND(cc_reader_ok(r) == !m->failed);
}

static void
write_step(fuzz_input *steps, cc_writer *w, model *m, fuzz_bytes from, fuzz_bytes to)
{
	uint8_t		step = (uint8_t) fuzz_number(steps, 1);
	size_t		len = step % 3 == 2 ? step_len(steps, step) % (from.len + 1) : step_len(steps, step);
	size_t		start = m->at;
	bool		there = advance(m, to.len, len);

	if (step % 3 == 0)
		cc_write_u8(w, step);
	else if (step % 3 == 1)
		cc_write_u32(w, UINT32_C(0x01020300) | step);
	else
		cc_write_bytes(w, from.data, len);
	DEMAND(cc_writer_ok(w) == !m->failed);
	if (!there)
		return;
	if (step % 3 == 0)
		DEMAND(to.data[start] == step);
	else if (step % 3 == 1)
		DEMAND(memcmp(to.data + start, "\1\2\3", 3) == 0 && to.data[start + 3] == step);
	else
		DEMAND(memcmp(to.data + start, from.data, len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_input	input = {data, size};
	fuzz_bytes	buffer = fuzz_slice(&input, (size_t) fuzz_number(&input, 2));
	fuzz_bytes	copy = fuzz_alloc(buffer.len, 0);
	fuzz_input	again = input;
	cc_reader	r = cc_reader_init(buffer.data, buffer.len);
	cc_writer	w = cc_writer_init(copy.data, copy.len);
	model		reading = {0, false},
				writing = {0, false};

	while (input.left > 0)
		read_step(&input, &r, &reading, buffer);
	while (again.left > 0)
		write_step(&again, &w, &writing, buffer, copy);
	fuzz_free(buffer);
	fuzz_free(copy);
	return 0;
}
