// SPDX-License-Identifier: GPL-2.0-only
#include <linux/irqflags.h>
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
