// SPDX-License-Identifier: GPL-2.0-only
#include <linux/gfp.h>
#include <linux/irqflags.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/preempt.h>
#include <linux/swap.h>
#include <linux/vmstat.h>

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

/* Adds a block of pages to @taken. */
static void put_away(struct list_head *taken, struct page *page, int order)
{
	set_page_private(page, order);
	list_add(&page->lru, taken);
}

/* Returns how many pages it were. */
static size_t give_back(struct list_head *taken)
{
	struct page *page, *next;
	size_t gave = 0;
	int order;

	list_for_each_entry_safe(page, next, taken, lru) {
		order = page_private(page);
		set_page_private(page, 0);
		list_del(&page->lru);
		__free_pages(page, order);
		gave += 1UL << order;
	}

	return gave;
}

/*
 * Takes up to @pages pages, large blocks first, as far as they can be had without
 * reclaim and without waking kswapd. Returns how many there were.
 */
static size_t take(struct list_head *taken, gfp_t gfp, size_t pages)
{
	struct page *page;
	size_t took = 0;
	int order;

	gfp = (gfp & ~__GFP_RECLAIM) | __GFP_NOWARN;
	for (order = MAX_PAGE_ORDER; order >= 0; order--) {
		while (pages - took >= 1UL << order) {
			page = alloc_pages(gfp, order);
			if (!page)
				break;
			put_away(taken, page, order);
			took += 1UL << order;
		}
	}

	return took;
}

/* How often anybody went into direct reclaim. */
static unsigned long direct_reclaims(void)
{
	unsigned long sum = 0;
	int cpu, zone;

	/* Not all_vm_events(): it waits for CPU hotplug, and the caller has a lock. */
	for_each_possible_cpu(cpu) {
		unsigned long *event = per_cpu(vm_event_states, cpu).event;

		for (zone = 0; zone < MAX_NR_ZONES; zone++)
			sum += READ_ONCE(event[ALLOCSTALL_NORMAL - ZONE_NORMAL + zone]);
	}

	return sum;
}

#define RELIEF_PAGES	1024

/* What others get before somebody is killed for memory, or the kernel panics for want of a victim. */
struct relief {
	struct notifier_block oom;
	struct list_head pages;
};

static int relieve(struct notifier_block *oom, unsigned long unused, void *freed)
{
	*(unsigned long *)freed += give_back(&container_of(oom, struct relief, oom)->pages);

	return NOTIFY_OK;
}

/*
 * Has the current task go into direct reclaim, and nobody else if it can be
 * helped: takes all that can be had without reclaim (*@took is how many pages),
 * and then asks for one page more with it. Where somebody has freed one in
 * between it takes that as well, and asks again. Does not try twice to reclaim,
 * so that nobody is killed for it, and keeps some pages for others that cannot
 * wait, such as kthreadd with a new worker to start. Returns whether reclaim
 * found a page. Gives all of them back.
 */
bool shrinker_press(size_t *took)
{
	const gfp_t reclaim = GFP_KERNEL & ~__GFP_KSWAPD_RECLAIM;
	struct relief relief = { .oom.notifier_call = relieve };
	unsigned long before;
	struct page *page;
	LIST_HEAD(taken);
	bool found;

	INIT_LIST_HEAD(&relief.pages);
	take(&relief.pages, GFP_KERNEL, RELIEF_PAGES);
	register_oom_notifier(&relief.oom);
	*took = take(&taken, GFP_KERNEL, SIZE_MAX);

	before = direct_reclaims();
	for (;;) {
		page = alloc_page(reclaim | __GFP_NORETRY | __GFP_NOWARN);
		found = page;
		if (page)
			put_away(&taken, page, 0);
		if (!page || direct_reclaims() != before)
			break;
		++*took;
	}
	give_back(&taken);
	unregister_oom_notifier(&relief.oom);
	give_back(&relief.pages);

	return found;
}

static LIST_HEAD(hoarded);
static DEFINE_MUTEX(hoard_lock);

/* Keeps up to @pages pages, of high memory first, from everybody else. */
size_t shrinker_hoard(size_t pages)
{
	guard(mutex)(&hoard_lock);

	return take(&hoarded, GFP_HIGHUSER, pages);
}

void shrinker_release_hoard(void)
{
	guard(mutex)(&hoard_lock);

	give_back(&hoarded);
}
