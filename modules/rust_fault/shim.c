// SPDX-License-Identifier: GPL-2.0-only
/*
 * What Rust cannot call: macros and inline functions.
 */

#include <linux/bug.h>
#include <linux/kfence.h>
#include <linux/preempt.h>
#include <linux/slab.h>

#include "../common/ops.c"
#include "shim.h"

/* Rust's own BUG() is in the kernel's helpers, and so is not this module's. */
noinline void shim_bug(void)
{
	BUG();
}

void shim_preempt_disable(void)
{
	preempt_disable();
}

bool shim_is_kfence_address(const void *addr)
{
	return is_kfence_address(addr);
}

/* What slab_debug=FZPU gives every cache, for one that asks for it itself. */
slab_flags_t shim_slab_debug_flags(void)
{
	return SLAB_CONSISTENCY_CHECKS | SLAB_RED_ZONE | SLAB_POISON |
	       SLAB_STORE_USER;
}
