/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RUST_ZPOOL_SHIM_H
#define RUST_ZPOOL_SHIM_H

#include <linux/types.h>

struct page;

/* In which context a function runs; context.rs has the same numbers. */
#define CONTEXT_ATOMIC	0x1
#define CONTEXT_KSWAPD	0x2
#define CONTEXT_DIRECT	0x4
/* Whether the kernel can tell atomic context. */
#define CONTEXT_KNOWN	0x8

unsigned int context_now(void);
bool context_in_kmap_fixmap(const void *addr);

struct page *zpool_alloc_page(gfp_t gfp, int nid);
void folios_free(struct page *page);
bool folios_is_high(struct page *page);

#endif /* RUST_ZPOOL_SHIM_H */
