// SPDX-License-Identifier: GPL-2.0-only
/*
 * What Rust cannot reach: the operations file, and macros on the context.
 */

#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/swap.h>

#include "../common/ops.c"
#include "context.h"

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
