/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RUST_FAULT_SHIM_H
#define RUST_FAULT_SHIM_H

#include <linux/types.h>

void shim_bug(void);
void shim_preempt_disable(void);
bool shim_is_kfence_address(const void *addr);
slab_flags_t shim_slab_debug_flags(void);

#endif /* RUST_FAULT_SHIM_H */
