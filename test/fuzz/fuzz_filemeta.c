/*
 * fuzz_filemeta.c
 *		The metadata of a file: whatever can be read is written again unchanged.
 */
#include "core/filemeta.h"
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_input	input = {data, size};
	fuzz_bytes	bytes = fuzz_rest(&input);
	cc_filemeta meta;

	if (cc_filemeta_read(bytes.data, bytes.len, &meta) == CC_OK)
	{
		fuzz_bytes	again = fuzz_alloc(cc_filemeta_len(&meta), 0);

		DEMAND(cc_filemeta_write(&meta, again.data) == CC_OK);
		DEMAND(fuzz_same(again, bytes));
		if (meta.complete)
			DEMAND((uint64_t) (meta.parts - 1) * meta.part_size +
				   cc_filemeta_part_len(&meta, meta.parts - 1) == meta.size);
		fuzz_free(again);
	}
	fuzz_free(bytes);
	return 0;
}
