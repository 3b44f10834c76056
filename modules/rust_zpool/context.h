/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RUST_ZPOOL_CONTEXT_H
#define RUST_ZPOOL_CONTEXT_H

/* In which context a function runs; context.rs has the same numbers. */
#define CONTEXT_ATOMIC	0x1
#define CONTEXT_KSWAPD	0x2
#define CONTEXT_DIRECT	0x4
/* Whether the kernel can tell atomic context. */
#define CONTEXT_KNOWN	0x8

unsigned int context_now(void);

#endif /* RUST_ZPOOL_CONTEXT_H */
