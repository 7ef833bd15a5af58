/*
 * header.h
 *		The five bytes that every format of sealed data begins with: suite ‖ u32 dek_version.
 *		Inline, because the header of every envelope is read twice.
 */
#ifndef CC_HEADER_H
#define CC_HEADER_H

#include "core/bytes.h"

#define CC_SUITE_MESSAGE		0x01
#define CC_SUITE_ATTACHMENT		0x02
#define CC_SUITE_CONVERSATION	0x03

#define CC_HEADER_LEN			5

#define CC_MESSAGE_MAX			(UINT32_C(1) << 30)	/* 1 GiB, what a datum can hold */
#define CC_AAD_MAX				(UINT32_C(1) << 16)

typedef struct cc_header
{
	uint8_t		suite;
	uint32_t	dek_version;
} cc_header;

/* Does not check the length of what follows the header. */
static inline CC_MUST_CHECK cc_status
cc_header_read(const uint8_t *bytes, size_t len, cc_header *header)
{
	cc_reader	r = cc_reader_init(bytes, len);

	header->suite = cc_read_u8(&r);
	if (!cc_reader_ok(&r))
		return CC_ERR_TRUNCATED;
	if (header->suite < CC_SUITE_MESSAGE || header->suite > CC_SUITE_CONVERSATION)
		return CC_ERR_SUITE;
	header->dek_version = cc_read_u32(&r);
	if (!cc_reader_ok(&r))
		return CC_ERR_TRUNCATED;
	return header->dek_version == 0 ? CC_ERR_VERSION : CC_OK;
}

/*
 * Reads the version of bytes that must be of one suite.  The suite is checked first, so that
 * another format is CC_ERR_SUITE whatever its length is.
 */
static inline CC_MUST_CHECK cc_status
cc_header_read_of(uint8_t suite, const uint8_t *bytes, size_t len, uint32_t *version)
{
	cc_header	header;
	cc_status	status;

	if (len > 0 && bytes[0] != suite)
		return CC_ERR_SUITE;
	status = cc_header_read(bytes, len, &header);
	if (status == CC_OK)
		*version = header.dek_version;
	return status;
}

static inline void
cc_header_write(uint8_t suite, uint32_t version, uint8_t bytes[CC_HEADER_LEN])
{
	bytes[0] = suite;
	bytes[1] = (uint8_t) (version >> 24);
	bytes[2] = (uint8_t) (version >> 16);
	bytes[3] = (uint8_t) (version >> 8);
	bytes[4] = (uint8_t) version;
}

#endif
