/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RUST_ALLOC_SHIM_H
#define RUST_ALLOC_SHIM_H

#include <linux/slab.h>
#include <linux/types.h>

/* What the current context allows; `struct State` of context.rs has the same layout. */
struct alloc_state {
	u32 preempt_count;
	bool counts_locks;
	bool irqs_disabled;
};

void alloc_state_get(struct alloc_state *state);
bool alloc_is_vmalloc(const void *address);

struct kmem_cache *alloc_cache_create(const char *name, size_t size,
				      size_t align, bool never_merge);
void *alloc_cache_alloc(struct kmem_cache *cache, gfp_t gfp);

#endif /* RUST_ALLOC_SHIM_H */
