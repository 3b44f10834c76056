# SPDX-License-Identifier: GPL-2.0-only
"""Functions that report, check, allocate or die on behalf of somebody else: tables of data.

The one to look at is the first function of a stack that is in none of these tables. A name ending in
``*`` stands for all names that begin so; what the compiler adds (``.isra.0``) is taken off before.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_REPORTERS: Final = """
dump_stack* dump_backtrace* show_stack* show_regs* show_trace* __show_* __dump_* unwind_* stack_trace_*
walk_stackframe* arch_stack_walk* arch_dump_stack sched_show_task show_state_filter print_tainted __warn*
warn_slowpath* report_bug* __report_bug* handle_bug* bug_handler* brk_handler bug_at warn_bogus_irq_restore
printk _printk vprintk* console_* nmi_cpu_backtrace* nmi_trigger_cpumask_backtrace
arch_trigger_cpumask_backtrace trigger_*_backtrace trigger_single_cpu_backtrace trigger_all_cpu_backtrace
rcu_dump_cpu_stacks dump_cpu_task _sched_show_task dev_printk* dev_vprintk* __dev_printk* _dev_printk
_dev_emerg _dev_alert _dev_crit _dev_err _dev_warn _dev_notice _dev_info __netdev_printk netdev_printk
netdev_emerg netdev_alert netdev_crit netdev_err netdev_warn netdev_notice netdev_info
"""

_TRAPS: Final = """
exc_* asm_exc_* die __die die_kernel_fault do_trap* do_error_trap* do_invalid_op invalid_op do_undefinstr
do_undef* el0_* el1_* el1h_* el0t_* el1t_* el1 el1h call_break_hook call_el1_break_hook __und_* __dabt_*
__pabt_* __do_kernel_fault do_kernel_fault do_page_fault __do_page_fault do_translation_fault
do_alignment_fault do_mem_abort do_DataAbort do_PrefetchAbort do_PrefetchAbort* do_bad do_bad_area
__bad_area_nosemaphore bad_area* page_fault async_page_fault page_fault_oops kernelmode_fixup_or_oops
no_context fixup_bug fixup_exception do_general_protection general_protection do_double_fault double_fault
do_int3 int3 do_divide_error divide_error error_entry error_exit native_iret do_debug_exception do_el1*
do_serror do_sea do_sp_pc_abort oops_end oops_begin panic vpanic nmi_panic* check_panic_on_warn
make_task_dead rewind_stack_do_exit do_ade do_bp do_tr do_ri do_be do_ov do_fpe do_trap_insn_fault
do_trap_load_fault do_trap_store_fault ret_from_exception handle_exception do_trap_unknown do_irq_handler*
program_check_exception bad_page_fault hash__do_page_fault ___do_page_fault data_access_common*
instruction_access_common* do_program_exception kernel_bad_stack handle_bad_stack panic_bad_stack bad_mode
arm64_serror_panic arm_notify_die v7_pabort v7_early_abort do_asm_vtlb* pgm_check_handler __do_pgm_check
do_dat_exception do_protection_exception monitor_event_exception illegal_op panic_stack_overflow
tlb_do_page_fault* handle_sys handle_ri* handle_bp* handle_tr* common_exception* ret_from_intr
"""

_SANITIZERS: Final = """
kasan_* __kasan_* __asan_* __hwasan_* print_report print_address* check_region* check_memory_region*
end_report print_error_description describe_object report_enabled start_report kfence_* __kfence_* kcsan_*
__kcsan_* __tsan_* kmsan_* __kmsan_* __msan_* __ubsan_* ubsan_* lib_ubsan* __sanitizer_* handle_overflow
val_to_string instrument_* test_bit set_bit clear_bit test_and_set_bit test_and_clear_bit arch_test_bit
atomic_* atomic64_* arch_atomic* raw_atomic* __read_once_* __write_once_* __kcfi_* handle_cfi_failure
report_cfi_failure* __cfi_* __cfi_check* cfi_* __stack_chk_fail fortify_panic __fortify_panic
__fortify_report __write_overflow*
"""

_ALLOCATORS: Final = """
print_bad_pte print_bad_page_map object_err slab_err slab_bug __slab_err __slab_bug slab_pad_check
check_object check_slab check_bytes_and_report check_slab_allocation check_page_allocation check_slab_free
free_consistency_checks alloc_consistency_checks free_debug_processing alloc_debug_processing
free_to_partial_list print_trailer print_section on_freelist list_slab_objects __kmem_cache_shutdown
shutdown_cache __get_vm_area_node arch_local_irq_*
free_partial slab_fix init_object slab_free_freelist_hook slab_post_alloc_hook memcg_slab_post_alloc_hook
validate_slab* cache_free_debugcheck verify_redzone_free cache_alloc_debugcheck_after check_poison_obj
__slab_error kfree kfree_const kvfree kvfree_call_rcu kfree_sensitive kzfree kmem_cache_free
kmem_cache_free_bulk kmem_cache_alloc* kmem_cache_destroy kmem_cache_zalloc kmem_cache_shrink __kmem_cache_*
____kmem_cache_* ____cache_alloc* __cache_free* ___cache_free cache_alloc_refill cache_grow* slab_destroy*
__kmalloc* ___kmalloc* kmalloc* kzalloc* kcalloc kmemdup* __do_kmalloc* ___slab_alloc __slab_alloc*
__slab_free slab_free* slab_alloc* do_slab_free slab_memory_* krealloc* __do_krealloc* kvmalloc* kvzalloc*
__kvmalloc* __kvrealloc* kvrealloc* vmalloc __vmalloc* vzalloc* vmalloc_user vmalloc_node* vfree __vfree
free_vm_area __vunmap vunmap remove_vm_area new_slab allocate_slab alloc_slab_page free_slab __free_slab
discard_slab deactivate_slab unfreeze_partials put_cpu_partial qlink_free qlist_free_all quarantine_*
kmemleak_* create_object __create_object* lookup_object delete_object* set_track* save_stack* stack_depot_*
poison_slab_object poison_kmalloc_redzone unpoison_slab_object mempool_* setup_object* alloc_single_from_*
get_partial_* kernel_poison_pages kernel_unpoison_pages __kernel_poison_pages __kernel_unpoison_pages
check_poison_mem bad_page free_page_is_bad check_new_page* __free_pages_prepare free_pages_prepare
free_unref_* __free_frozen* free_frozen* __free_pages __free_pages_core __free_pages_ok free_pages
__free_page free_page_and_* bad_range free_pcppages_bulk free_one_page free_tail_page_prepare
free_contig_range free_large_kmalloc* __folio_put* folio_put* __put_page put_page release_pages
prep_new_page post_alloc_hook rmqueue* get_page_from_freelist __alloc_pages* __alloc_frozen* alloc_pages*
alloc_frozen* __get_free_pages get_zeroed_page* __folio_alloc* folio_alloc* folio_alloc_noprof
vma_alloc_folio* alloc_from_pcs dump_page* __dump_page* dump_header out_of_memory oom_kill_process
warn_alloc* mem_cgroup_out_of_memory mem_cgroup_oom* try_charge* __mem_cgroup_charge* should_fail*
should_failslab should_fail_alloc_page rust_helper_* __rust_alloc __rust_dealloc __rust_realloc __rdl_*
__rg_*
"""

_LOCKS: Final = """
print_circular_bug* print_usage_bug* print_deadlock_bug* print_bad_irq_dependency print_irq_inversion_bug*
print_irq* print_unlock* print_freed_lock* print_lock_invalid* print_held_locks* print_lock_contention_bug
print_lock_nested* check_noncircular check_prev_add check_prevs_add check_deadlock* check_usage*
check_irq_usage check_redundant check_wait_context mark_lock* validate_chain __lock_acquire* lock_acquire*
lock_release* __lock_release* lock_is_held* lockdep_* __lockdep_* lock_contended lock_acquired
lock_downgrade lock_set_class lock_unpin_lock lock_pin_lock debug_check_no_locks* reacquire_held_locks
debug_locks_off* register_lock_class assign_lock_key valid_state mark_usage mark_held* hlock_class
look_up_lock_class find_held_lock match_held_lock add_chain_cache* lookup_chain_cache* trace_hardirqs*
trace_softirqs* rcu_lockdep_* spin_dump spin_bug do_raw_* _raw_spin* _raw_read* _raw_write* __raw_spin*
__raw_read* __raw_write* rwlock_bug queued_spin* queued_read* queued_write* native_queued* pv_queued*
__pv_queued* arch_spin* spin_lock* spin_unlock* read_lock* write_lock* ticket_* kvm_wait kvm_lock_spinning
debug_spin* rt_spin* rt_mutex_* rt_read* rt_write* rtlock_* try_to_take_rt_mutex __might_resched*
___might_sleep __might_sleep __might_fault might_alloc might_sleep* __cant_* __cond_resched* _cond_resched
cond_resched* __schedule schedule schedule_preempt_disabled schedule_timeout* schedule_hrtimeout*
schedule_idle schedule_rtlock preempt_schedule* preempt_count_* io_schedule* __schedule_bug __schedule_loop
context_switch finish_task_switch* __switch_to* msleep* usleep_range* fsleep ssleep do_nanosleep
hrtimer_nanosleep nanosleep* mutex_lock* __mutex_* mutex_unlock* mutex_trylock ww_mutex_* down down_*
__down* __up_* up_read up_write up_* rwsem_* __rwsem* call_rwsem_* rwbase_* percpu_down_* percpu_rwsem*
__percpu_* wait_for_* do_wait_for_* __wait_for_* wait_on_* __wait_on_* out_of_line_wait_on_* bit_wait*
swait_* wait_woken io_schedule_* fs_reclaim_* __fs_reclaim_* __flush_work* flush_work flush_workqueue
__flush_workqueue start_flush_work check_flush_dependency insert_wq_barrier touch_wq_lockdep_map
debug_smp_processor_id check_preemption_disabled __this_cpu_preempt_check wq_worker_sleeping osq_lock
osq_unlock __wake_up* finish_wait prepare_to_wait* cancel_work_sync cancel_delayed_work* __cancel_work*
folio_wait_* filemap_fdatawait* __filemap_fdatawait* fdatawait_one_bdev do_read_cache_folio
filemap_read_folio lock_sock* release_sock mark_lock_irq try_to_grab_pending work_grab_pending
drain_workqueue destroy_workqueue
"""

_TIMERS: Final = """
__timer_interrupt restore_check_irq_replay armada_370_xp_*
watchdog_timer_fn watchdog_overflow_callback watchdog_hardlockup_* watchdog_check_* is_softlockup*
print_modules __hrtimer_* hrtimer_interrupt hrtimer_cancel
hrtimer_try_to_cancel lock_hrtimer_base* hrtimer_run_queues __run_hrtimer __sysvec_* sysvec_*
asm_sysvec_* smp_apic_timer_interrupt apic_timer_interrupt local_apic_timer_interrupt rcu_check_callbacks
rcu_sched_clock_irq rcu_pending rcu_core* rcu_do_batch* rcu_gp_* rcu_exp_* rcu_note_* print_cpu_stall*
print_other_cpu_stall* check_cpu_stall* rcu_process_callbacks rcu_is_watching irq_work_* __irq_work*
__irq_exit* irq_exit* irq_enter* handle_irq* generic_handle_* handle_softirqs __do_softirq* do_softirq*
handle_percpu_* __handle_irq_event* handle_fasteoi* __handle_domain_irq handle_domain_irq gic_handle_irq*
arch_timer_handler_* call_on_stack call_on_irq_stack do_interrupt_handler tick_* update_process_times
timer_interrupt* cpuhp_* smpboot_thread_fn smp_call_function* __flush_smp_call_function_queue
generic_smp_call_function* csd_lock_* __csd_lock_wait on_each_cpu* perf_event_overflow*
__perf_event_overflow perf_event_nmi_handler intel_pmu_handle_irq nmi_handle* default_do_nmi do_nmi*
end_repeat_nmi nmi exc_nmi* asm_exc_nmi do_irq __do_irq do_IRQ __do_IRQ handle_int plat_irq_dispatch
__irq_svc __irq_usr handle_IRQ generic_handle_arch_irq call_with_stack common_interrupt* __common_interrupt
asm_common_interrupt call_do_irq decrementer_common* soft_nmi_* system_reset_* do_ext_irq ext_int_handler
handle_riscv_irq riscv_intc_irq riscv_timer_interrupt do_vint handle_loongarch_irq handle_cpu_irq
constant_timer_interrupt c0_compare_interrupt gic_compare_interrupt gic_timer_* twd_handler
xen_timer_interrupt xen_evtchn_do_upcall xen_pv_evtchn_do_upcall __xen_evtchn_do_upcall
__xen_pv_evtchn_do_upcall xen_do_hypervisor_callback __evtchn_fifo_handle_events del_timer* timer_delete*
do_handle_IPI handle_IPI ipi_handler
"""

# Who waits in a loop is met here as well as in the loop.
_CLOCKS: Final = """
ktime_get* ktime_mono_to_any sched_clock* native_sched_clock local_clock* read_tsc read_hpet pvclock_*
kvm_clock_read kvm_clock_get_cycles kvm_sched_clock_read arch_counter_* arch_timer_read_* delay_tsc
delay_loop delay_halt* __delay __udelay __ndelay __const_udelay __timer_delay __loop_delay __loop_udelay
__loop_const_udelay
"""

# kernel/time/tick-sched.c, tick-common.c
_TICK: Final = """
update_process_times tick_sched_handle tick_sched_timer tick_nohz_handler tick_nohz_lowres_handler
tick_handle_periodic tick_periodic tick_handle_periodic_broadcast clockevents_program_event
"""

_STRINGS: Final = """
memcpy memcpy_* memset memset_* memmove memmove_* __memcpy* __memset* __memmove* memcmp memchr* memscan bcmp
strlen strnlen strcpy strncpy strscpy* strlcpy strcat strncat strcmp strncmp strcasecmp strchr strrchr
strstr __pi_* sized_strscpy strnchr __arch_copy* __arch_clear* arm_copy_* copy_from_user* copy_to_user*
_copy_from_user _copy_to_user __copy_* raw_copy_* copy_user_* _copy_from_iter* _copy_to_iter*
simple_copy_to_iter copy_page_to_iter copy_page_from_iter* copy_page clear_page* copy_to_kernel_nofault
copy_from_kernel_nofault check_copy_size usercopy_abort __check_object_size* __check_heap_object
check_heap_object report_usercopy __get_user* __put_user* rep_movs* __list_add_valid*
__list_del_entry_valid* __list_add __list_del_entry list_add list_add_tail list_del list_del_init list_move*
hlist_add_* hlist_del* refcount_warn_saturate refcount_* __refcount_* kref_get kref_put* debug_print_object
debug_object_* __debug_object* __debug_check_no_obj_freed ref_tracker_* debug_check_no_obj_freed
debug_timer_* kasprintf kvasprintf kstrdup* read_word_at_a_time csum_partial* crc32_* vsnprintf snprintf
sprintf scnprintf string string_nocheck number pointer format_decode vscnprintf
"""

# What everybody calls: trees, references, queues, timers, devices' files, page cache, accesses to devices.
_PRIMITIVES: Final = """
rb_erase* rb_insert_color* rb_next* rb_prev* rb_first* rb_last* __rb_* klist_* xas_start xas_load xas_find*
rhashtable_lookup* kobject_* iput iput_final ihold drop_nlink inc_nlink dput fast_dput put_device get_taint
add_uevent_var get_device_parent device_add device_del device_unregister device_destroy device_release
devres_release_all device_for_each_child device_remove_file sysfs_remove_* kthread_stop queue_work*
__queue_work insert_work queue_delayed_work* __queue_delayed_work mod_delayed_work* complete complete_all
lock_timer_base mod_timer __mod_timer add_timer __timer_delete_sync sk_stop_timer* timer_is_static_object
work_is_static_object ida_free va_format hex_dump_to_buffer print_hex_dump* readb readw readl readq writeb
writew writel writeq ioread8 ioread16 ioread32 iowrite8 iowrite16 iowrite32 logic_in* logic_out*
__phys_addr* __virt_to_phys* kfree_skb* skb_panic* skb_over_panic skb_under_panic skb_put skb_push skb_pull*
filemap_alloc_folio* __filemap_get_folio* find_or_create_page pagecache_get_page grab_cache_page*
read_cache_page folio_unlock unlock_page __lock_page seqprop_assert* __local_bh_enable* __local_bh_disable*
owner_on_cpu usb_submit_urb usb_start_wait_urb usb_control_msg* usb_bulk_msg usb_interrupt_msg
usb_hcd_submit_urb usb_kill_urb usb_kill_anchored_urbs dummy_urb_enqueue
"""

_RUST: Final = r"""
rust_begin_unwind _R\w*4core9panicking\w* _R\w*4core6option\w+(?:fail|failed)
_R\w*4core6result\w*unwrap_failed _R\w*4core3str\w*fail\w* _R\w*4core5slice\w*(?:fail|panic)\w*
_R\w*4core4cell\w*panic\w* _R\w*4core3ptr\w*drop_in_place\w*
_RNv\w*_?(?:6kernel|7___rustc)\w*(?:panic|rust_begin_unwind)\w* _R\w*5alloc\w*handle_alloc_error\w*
_ZN4core9panicking\w* _ZN4core6option\w*failed\w* _ZN4core6result\w*unwrap_failed\w*
_ZN4core5slice\w*fail\w*
_RI?Nv[XMY](?:s[0-9A-Za-z]*_)?(?:Nt)+C(?:s[0-9A-Za-z]*_)?6kernel5alloc\w+
"""


def _pattern() -> re.Pattern[str]:
    words = " ".join(
        (_REPORTERS, _TRAPS, _SANITIZERS, _ALLOCATORS, _LOCKS, _TIMERS, _CLOCKS, _STRINGS, _PRIMITIVES)
    ).split()
    named = [re.escape(word).replace(r"\*", r"[\w.$]*") for word in words]
    return re.compile(f"(?:{'|'.join(sorted(named) + _RUST.split())})$")


_HELPERS: Final = _pattern()
_TICKS: Final = frozenset(_TICK.split())
_SUFFIX: Final = re.compile(r"\.(?:isra|constprop|part|cold|llvm|lto_priv|cfi_jt|cfi|warm)\b.*$")


@lru_cache(maxsize=4096)
def is_helper(function: str) -> bool:
    """Whether ``function`` only reports, checks or dies on behalf of its caller."""
    return _HELPERS.match(_SUFFIX.sub("", function).lstrip(".")) is not None


def is_tick(function: str) -> bool:
    """Whether ``function`` is the timer's tick, or prepares the next."""
    return without_suffix(function) in _TICKS


def without_suffix(function: str) -> str:
    """The name without what the compiler adds for its clones and parts."""
    return _SUFFIX.sub("", function)
