/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RUST_SHRINKER_SHIM_H
#define RUST_SHRINKER_SHIM_H

#include <linux/sched.h>
#include <linux/types.h>

/* Who runs a callback; `struct Caller` of stats.rs has the same layout. */
struct shrinker_caller {
	char comm[TASK_COMM_LEN];
	bool kswapd;
	bool reclaim;
	bool atomic;
};

void shrinker_caller_get(struct shrinker_caller *caller);
bool shrinker_press(size_t *took);
size_t shrinker_hoard(size_t pages);
void shrinker_release_hoard(void);

#endif /* RUST_SHRINKER_SHIM_H */
