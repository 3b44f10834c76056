// SPDX-License-Identifier: GPL-2.0-only
#include <linux/gfp.h>
#include <linux/irqflags.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/swap.h>

#include "shim.h"
#include "../common/ops.c"

/* Flags and counters of the current task, which C has as macros only. */
void shrinker_caller_get(struct shrinker_caller *caller)
{
	get_task_comm(caller->comm, current);
	caller->kswapd = current_is_kswapd();
	caller->reclaim = current->flags & PF_MEMALLOC;
	caller->atomic = preempt_count() || irqs_disabled();
}

/*
 * Has the current task go into direct reclaim, and nobody else if it can be
 * helped: takes every page that can be had without reclaim (*@took is how many),
 * without waking kswapd, and then asks for one more with it. Does not try twice,
 * so that nobody is killed for it. Returns whether the last page was found. Gives
 * all of them back.
 */
bool shrinker_press(size_t *took)
{
	const gfp_t take = (GFP_KERNEL & ~__GFP_RECLAIM) | __GFP_NOWARN;
	const gfp_t reclaim = take | __GFP_DIRECT_RECLAIM | __GFP_NORETRY;
	struct page *page, *next;
	LIST_HEAD(taken);
	bool found;
	int order;

	*took = 0;
	for (order = MAX_PAGE_ORDER; order >= 0; order--) {
		while ((page = alloc_pages(take, order))) {
			set_page_private(page, order);
			list_add(&page->lru, &taken);
			*took += 1UL << order;
		}
	}

	page = alloc_page(reclaim);
	found = page;
	if (page)
		__free_page(page);

	list_for_each_entry_safe(page, next, &taken, lru) {
		order = page_private(page);
		set_page_private(page, 0);
		list_del(&page->lru);
		__free_pages(page, order);
	}

	return found;
}
