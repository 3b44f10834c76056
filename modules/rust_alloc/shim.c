// SPDX-License-Identifier: GPL-2.0-only
#include <linux/irqflags.h>
#include <linux/kconfig.h>
#include <linux/mm.h>
#include <linux/preempt.h>

#include "shim.h"
#include "../common/ops.c"

/* Without CONFIG_PREEMPT_COUNT a spinlock leaves no trace in the count. */
void alloc_state_get(struct alloc_state *state)
{
	state->preempt_count = preempt_count();
	state->counts_locks = IS_ENABLED(CONFIG_PREEMPT_COUNT);
	state->irqs_disabled = irqs_disabled();
}

bool alloc_is_vmalloc(const void *address)
{
	return is_vmalloc_addr(address);
}

/* In C, the function is a macro that looks at its arguments' types. */
struct kmem_cache *alloc_cache_create(const char *name, size_t size,
				      size_t align, bool never_merge)
{
	struct kmem_cache_args args = { .align = align };

	return kmem_cache_create(name, size, &args,
				 never_merge ? SLAB_NO_MERGE : 0);
}

void *alloc_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
	return kmem_cache_alloc(cache, gfp);
}
