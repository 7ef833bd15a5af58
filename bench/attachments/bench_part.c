/*
 * bench_part.c
 *		The core's own rate: seals or opens a part of 16 MiB for each line of its input,
 *		and prints the seconds that it computed.  Nothing is allocated in between.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/attachment.h"

#define PART_LEN (16 * 1024 * 1024)

static double
now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

int
main(void)
{
	static const uint8_t key[CC_DEK_LEN] = "an unguessable key of 32 bytes..";
	static const uint8_t file_id[CC_ID_LEN] = "the id of a file";
	const cc_part_id id = {.file_id = file_id, .last = true};
	cc_aead    *aead = cc_aead_new(CC_AEAD_AUTO);
	uint8_t    *plaintext = malloc(PART_LEN);
	uint8_t    *sealed;
	size_t		sealed_len;
	char		line[16];

	if (aead == NULL || plaintext == NULL || cc_part_sealed_len(PART_LEN, &sealed_len) != CC_OK)
		return 1;
	sealed = malloc(sealed_len);
	if (sealed == NULL)
		return 1;
	memset(plaintext, 'x', PART_LEN);
	if (cc_part_seal(aead, key, 1, &id, plaintext, PART_LEN, sealed) != CC_OK)
		return 1;
	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		double		start = now();
		cc_status	status = strcmp(line, "seal\n") == 0 ?
			cc_part_seal(aead, key, 1, &id, plaintext, PART_LEN, sealed) :
			cc_part_open_all(aead, key, 1, &id, sealed, sealed_len, plaintext);

		if (status != CC_OK)
			return 1;
		printf("%.9f\n", now() - start);
		fflush(stdout);
	}
	return 0;
}
