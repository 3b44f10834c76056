// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel's Page does not tell: where its page is.
 */

#include <linux/mm.h>
#include <linux/page-flags.h>

#include "../common/ops.c"
#include "shim.h"

/* Is the page outside of the kernel's direct mapping? */
bool shim_page_highmem(const struct page *page)
{
	return PageHighMem(page);
}

/* NULL for a highmem page that nobody has mapped with kmap(). */
void *shim_page_address(const struct page *page)
{
	return page_address(page);
}

bool shim_page_has_address(const struct page *page)
{
	return page_address(page);
}

u64 shim_page_pfn(const struct page *page)
{
	return page_to_pfn(page);
}
