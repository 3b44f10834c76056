// SPDX-License-Identifier: GPL-2.0-only
/*
 * What Rust cannot call: inline functions and macros of the folio and kmap
 * interfaces, one to one. Built into the kernel these would be files in
 * rust/helpers/.
 */

#include <linux/cacheflush.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>

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

void *shim_kmap_local_folio(struct folio *folio, size_t offset)
{
	return kmap_local_folio(folio, offset);
}

void shim_kunmap_local(const void *addr)
{
	kunmap_local(addr);
}

/* The rest tells an operation where a mapping is; the abstraction needs none of it. */

/* The address in the kernel's direct mapping; a highmem page has none. */
const void *shim_direct_address(const struct folio *folio, size_t offset)
{
	if (folio_test_highmem(folio))
		return NULL;
	return folio_address(folio) + offset;
}

/* Is this one of kmap_local's own slots? As kunmap_local_indexed() has it. */
bool shim_in_kmap_fixmap(const void *addr)
{
#ifdef CONFIG_KMAP_LOCAL
	unsigned long page = (unsigned long)addr & PAGE_MASK;

	return page >= __fix_to_virt(FIX_KMAP_END) &&
	       page <= __fix_to_virt(FIX_KMAP_BEGIN);
#else
	return false;
#endif
}

/* How many slots of kmap_local this task holds (two each with DEBUG_KMAP_LOCAL). */
int shim_kmap_depth(void)
{
#ifdef CONFIG_KMAP_LOCAL
	return current->kmap_ctrl.idx;
#else
	return 0;
#endif
}
