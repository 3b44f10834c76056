// SPDX-License-Identifier: GPL-2.0-only
/*
 * What Rust cannot reach: the operations file, and macros on the context and
 * on pages.
 */

#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/swap.h>

#include "../common/ops.c"
#include "shim.h"

unsigned int context_now(void)
{
	unsigned int now = 0;

	if (IS_ENABLED(CONFIG_PREEMPT_COUNT))
		now |= CONTEXT_KNOWN;
	if (preempt_count() || irqs_disabled() || rcu_preempt_depth())
		now |= CONTEXT_ATOMIC;
	if (current_is_kswapd())
		now |= CONTEXT_KSWAPD;
	else if (current->flags & PF_MEMALLOC)
		now |= CONTEXT_DIRECT;

	return now;
}

/* Is this one of kmap_local's own slots? As kunmap_local_indexed() has it. */
bool context_in_kmap_fixmap(const void *addr)
{
#ifdef CONFIG_KMAP_LOCAL
	unsigned long page = (unsigned long)addr & PAGE_MASK;

	return page >= __fix_to_virt(FIX_KMAP_END) &&
	       page <= __fix_to_virt(FIX_KMAP_BEGIN);
#else
	return false;
#endif
}

struct page *zpool_alloc_page(gfp_t gfp, int nid)
{
	return alloc_pages_node(nid, gfp, 0);
}

void folios_free(struct page *page)
{
	__free_page(page);
}

bool folios_is_high(struct page *page)
{
	return PageHighMem(page);
}
