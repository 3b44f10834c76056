// SPDX-License-Identifier: GPL-2.0-only
/*
 * What Rust cannot call: inline functions and macros of the folio interface,
 * one to one. Built into the kernel this would be a file in rust/helpers/.
 */

#include <linux/cacheflush.h>
#include <linux/mm.h>
#include <linux/pagemap.h>

#include "../common/ops.c"
#include "shim.h"

struct folio *shim_folio_alloc(gfp_t gfp, unsigned int order)
{
	return folio_alloc(gfp, order);
}

void shim_folio_get(struct folio *folio)
{
	folio_get(folio);
}

void shim_folio_put(struct folio *folio)
{
	folio_put(folio);
}

void shim_folio_lock(struct folio *folio)
{
	folio_lock(folio);
}

bool shim_folio_trylock(struct folio *folio)
{
	return folio_trylock(folio);
}

void shim_folio_mark_uptodate(struct folio *folio)
{
	folio_mark_uptodate(folio);
}

bool shim_folio_test_uptodate(const struct folio *folio)
{
	return folio_test_uptodate(folio);
}

bool shim_folio_test_locked(const struct folio *folio)
{
	return folio_test_locked(folio);
}

bool shim_folio_test_highmem(const struct folio *folio)
{
	return folio_test_highmem(folio);
}

bool shim_folio_test_partial_kmap(const struct folio *folio)
{
	return folio_test_partial_kmap(folio);
}

unsigned int shim_folio_order(const struct folio *folio)
{
	return folio_order(folio);
}

size_t shim_folio_size(const struct folio *folio)
{
	return folio_size(folio);
}

loff_t shim_folio_pos(const struct folio *folio)
{
	return folio_pos(folio);
}

int shim_folio_ref_count(const struct folio *folio)
{
	return folio_ref_count(folio);
}

void shim_flush_dcache_folio(struct folio *folio)
{
	flush_dcache_folio(folio);
}
