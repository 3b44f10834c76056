/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RUST_FOLIO_SHIM_H
#define RUST_FOLIO_SHIM_H

#include <linux/types.h>

struct folio;

struct folio *shim_folio_alloc(gfp_t gfp, unsigned int order);
void shim_folio_get(struct folio *folio);
void shim_folio_put(struct folio *folio);
void shim_folio_lock(struct folio *folio);
bool shim_folio_trylock(struct folio *folio);
void shim_folio_mark_uptodate(struct folio *folio);
bool shim_folio_test_uptodate(const struct folio *folio);
bool shim_folio_test_locked(const struct folio *folio);
bool shim_folio_test_highmem(const struct folio *folio);
bool shim_folio_test_partial_kmap(const struct folio *folio);
unsigned int shim_folio_order(const struct folio *folio);
size_t shim_folio_size(const struct folio *folio);
loff_t shim_folio_pos(const struct folio *folio);
int shim_folio_ref_count(const struct folio *folio);
void shim_flush_dcache_folio(struct folio *folio);

#endif /* RUST_FOLIO_SHIM_H */
