/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef RUST_FOLIO_KMAP_SHIM_H
#define RUST_FOLIO_KMAP_SHIM_H

#include <linux/types.h>

struct folio;
struct task_struct;

typedef void (*shim_task_fn_t)(void *data);

int shim_force(bool on);
void *shim_kmap_local_folio(struct folio *folio, size_t offset);
void shim_kunmap_local(const void *addr);
void *shim_kmap_folio(struct folio *folio, size_t offset);
void shim_kunmap_folio(struct folio *folio, size_t offset);

const void *shim_direct_address(const struct folio *folio, size_t offset);
bool shim_in_kmap_fixmap(const void *addr);
bool shim_in_pkmap(const void *addr);
unsigned int shim_kmap_slot(const void *addr);
int shim_kmap_depth(void);
unsigned int shim_kmap_most(void);
unsigned int shim_cpu(void);
bool shim_readable(const void *addr);

void shim_sleep_ms(unsigned int ms);
unsigned int shim_last_cpu(void);
struct task_struct *shim_task_start(shim_task_fn_t fn, void *data,
				    unsigned int cpu);
void shim_task_join(struct task_struct *task);

#endif /* RUST_FOLIO_KMAP_SHIM_H */
