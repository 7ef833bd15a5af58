/*
 * random.c
 *		Random bytes drawn ahead into one page.
 *
 * The state of the buffer is in the page itself, so that a child process, whose copy
 * the kernel wipes, finds `left` at 0 and draws its own bytes: there is no pid to
 * compare and no handler to install.  Where the kernel does not promise the wipe
 * there is no buffer, and every draw goes to the system.
 *
 * The first draw of a statement takes a few salts' worth and each further one
 * twice as much: a statement that seals one row does not pay for four hundred.
 *
 * For use by one thread, and never from a signal handler.
 */
#define _DEFAULT_SOURCE			/* MAP_ANONYMOUS, madvise */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/random.h>
#endif

#include <openssl/rand.h>

#include "core/random.h"

#define PAGE_LEN		4096		/* the smallest page size; a larger page is used in part */
#define DRAW_MAX		64			/* bytes; a larger draw bypasses the buffer */
#define FIRST_REFILL	64

typedef struct random_page
{
	uint32_t	left;			/* bytes not yet handed out: the first ones of `bytes` */
	uint32_t	refill;			/* how much was drawn last; 0 after a wipe */
	uint8_t		bytes[PAGE_LEN - 2 * sizeof(uint32_t)];
} random_page;

static random_page *page;
static bool page_refused;

/* Draws from the system, whatever the length. */
static cc_status
draw(uint8_t *out, size_t len)
{
#ifdef __linux__
	while (len > 0)
	{
		ssize_t		got = getrandom(out, len, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;				/* where a sandbox forbids the call, OpenSSL has other ways */
		out += got;
		len -= (size_t) got;
	}
#endif
	while (len > 0)
	{
		int			part = len > INT32_MAX ? INT32_MAX : (int) len;

		if (RAND_priv_bytes(out, part) != 1)
			return CC_ERR_RANDOM;
		out += part;
		len -= (size_t) part;
	}
	return CC_OK;
}

/* Makes the page at first use.  Returns false where there can be no such page. */
static bool
have_page(void)
{
#ifdef MADV_WIPEONFORK
	void	   *mapping;

	if (page != NULL)
		return true;
	if (page_refused)
		return false;
	page_refused = true;
	mapping = mmap(NULL, sizeof(random_page), PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mapping == MAP_FAILED)
		return false;
	if (madvise(mapping, sizeof(random_page), MADV_WIPEONFORK) != 0 ||
		madvise(mapping, sizeof(random_page), MADV_DONTDUMP) != 0)
	{
		munmap(mapping, sizeof(random_page));
		return false;
	}
	page = mapping;
	return true;
#else
	return false;
#endif
}

static cc_status
refill(void)
{
	uint32_t	want = page->refill == 0 ? FIRST_REFILL : page->refill * 2;
	cc_status	status;

	if (want > sizeof(page->bytes))
		want = sizeof(page->bytes);
	page->left = 0;
	status = draw(page->bytes, want);
	if (status != CC_OK)
		return status;
	page->refill = want;
	page->left = want;
	return CC_OK;
}

cc_status
cc_random_bytes(void *out, size_t len)
{
	cc_status	status;

	if (len > DRAW_MAX || !have_page())
		return draw(out, len);
	if (len > page->left)
	{
		status = refill();
		if (status != CC_OK)
			return status;
	}
	page->left -= (uint32_t) len;
	if (len > 0)
		memcpy(out, page->bytes + page->left, len);

	/* Bytes that were handed out must not be found here afterwards. */
	cc_wipe(page->bytes + page->left, len);
	return CC_OK;
}

void
cc_random_forget(void)
{
	if (page == NULL || page->refill == 0)
		return;
	cc_wipe(page->bytes, page->left);
	page->left = 0;
	page->refill = 0;
}
