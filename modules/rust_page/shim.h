/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RUST_PAGE_SHIM_H
#define RUST_PAGE_SHIM_H

#include <linux/types.h>

struct page;

bool shim_page_highmem(const struct page *page);
bool shim_page_has_address(const struct page *page);
void *shim_page_address(const struct page *page);
u64 shim_page_pfn(const struct page *page);

#endif /* RUST_PAGE_SHIM_H */
