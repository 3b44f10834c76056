# SPDX-License-Identifier: GPL-2.0-only
"""Stack frames as data, the function to blame, and titles that survive a rebuild."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rust_demangler import demangle

LONGEST_TITLE: Final = 120
MOST_FRAMES: Final = 64

_PLACE = r"(?P<function>[\w.$]+)\+(?P<offset>0x[0-9a-f]+/0x[0-9a-f]+)(?: \[(?P<module>[\w-]+)[^\]]*\])?"
_FRAME: Final = re.compile(
    r"(?: *|kmemleak: +)(?:\[<[0-9a-f]+>\] )?(?P<doubt>\? )?" + _PLACE + r"(?: \([A-Z]+\))?$"
)
_ARM_FRAME: Final = re.compile(
    r" *(?:\[<[0-9a-f]+>\] )?\(?(?P<function>[\w.$]+)(?: \[(?P<module>\w+)\])?\)? from .*\+0x[0-9a-f]+"
)
_PC: Final = re.compile(r"(?:RIP: [0-9a-f]{4}:|EIP: (?:[0-9a-f]{4}:)?|pc : |PC is at )" + _PLACE)
_TRACE: Final = re.compile(r"Call [Tt]race:|Backtrace: |  backtrace \(crc|kmemleak:   backtrace")
_WITHIN: Final = re.compile(r" </?[A-Z_#0-9]+>$|.*Call [Tt]race:")

# Those who report, check or die on behalf of somebody else; the caller is the one to look at.
_HELPERS: Final = re.compile(
    r"(?:dump_stack|dump_backtrace|show_stack|show_regs|show_trace|__show_|__dump_|unwind_|stack_trace_"
    r"|__warn|warn_slowpath|report_bug|__report_bug|handle_bug|exc_|asm_exc_|die|__die|bug_handler|brk_handler"
    r"|do_debug_exception|do_trap|do_error_trap|do_undefinstr|el1|el1h|__und_|__dabt_|__pabt_|do_kernel_fault"
    r"|do_page_fault|do_translation_fault|do_mem_abort|do_DataAbort|do_PrefetchAbort|page_fault_oops|fixup_bug"
    r"|call_break_hook|call_el1_break_hook|panic|vpanic|nmi_panic|check_panic_on_warn"
    r"|kasan_|__kasan_|__asan_|print_report|print_address|check_region|check_memory_region|__hwasan_|kfence_|__kfence_"
    r"|kcsan_|__tsan_|kmsan_|__msan_|__ubsan_|ubsan_|lib_ubsan"
    r"|object_err|slab_err|slab_bug|__slab_err|__slab_bug|slab_pad_check|check_object|check_slab|check_bytes_and_report"
    r"|free_consistency_checks|alloc_consistency_checks|free_debug_processing|alloc_debug_processing|free_to_partial_list"
    r"|print_trailer|print_section|on_freelist|list_slab_objects|__kmem_cache_shutdown|free_partial|slab_fix"
    r"|kfree|kvfree|kmem_cache_free|kmem_cache_alloc|kmem_cache_destroy|__kmalloc|kmalloc_|___slab_alloc|__slab_alloc"
    r"|__slab_free|slab_free|slab_alloc|do_slab_free|krealloc|kvmalloc|__kvmalloc|__kvrealloc|vmalloc|__vmalloc|vfree"
    r"|kmemleak_|create_object|__create_object|slab_post_alloc_hook"
    r"|__list_add_valid|__list_del_entry_valid|refcount_warn_saturate|refcount_|usercopy_abort|__check_object_size"
    r"|__check_heap_object|check_heap_object"
    r"|bad_page|free_page_is_bad|__free_pages_prepare|free_unref|__free_frozen|free_frozen|__free_pages|bad_range"
    r"|rust_helper_|rust_begin_unwind|_R\w*4core9panicking|_R\w*4core6option\w+(?:fail|failed)"
    r"|_R\w*4core6result\w*unwrap_failed|_R\w*4core3str\w*fail|_R\w*4core5slice\w*(?:fail|panic)"
    r"|_RNv\w*_?(?:6kernel|7___rustc)\w*(?:panic|rust_begin_unwind)|_R\w*5alloc\w*handle_alloc_error"
    r"|print_circular_bug|print_usage_bug|print_deadlock_bug|check_noncircular|check_prev|check_deadlock|mark_lock"
    r"|print_irq|validate_chain|__lock_acquire|lock_acquire|lock_release|lock_is_held|lockdep_|debug_check_no_locks"
    r"|print_unlock|print_freed_lock|__lock_release|register_lock_class|assign_lock_key|valid_state|mark_usage|mark_held"
    r"|spin_dump|spin_bug|do_raw_spin|_raw_spin|_raw_read|_raw_write|rwlock_bug|queued_spin|native_queued"
    r"|__might_resched|__might_sleep|__might_fault|__cant_|__schedule|schedule|preempt_schedule|io_schedule"
    r"|__schedule_bug|msleep|usleep_range|mutex_lock|__mutex|mutex_unlock|down_read|down_write|__down|rwsem_|wait_for_|do_wait_for|__wait_for"
    r"|watchdog_|__hrtimer|hrtimer_|__sysvec|sysvec_|asm_sysvec|rcu_|print_cpu_stall|print_other_cpu|check_cpu_stall"
    r"|sched_show_task|nmi_|trigger_|irq_work|__irq_|handle_irq|handle_softirqs|tick_|update_process_times"
    r"|memcpy|memset|memmove|__memcpy|__memset|__memmove|memcmp|strlen|strcpy|strcmp|copy_from_|copy_to_|__arch_copy"
    r"|dump_page|__dump_page|dump_header|oom_kill|out_of_memory|warn_alloc|__alloc_pages|__alloc_frozen|alloc_pages|alloc_frozen"
    r"|__folio_alloc|folio_alloc|vma_alloc_folio|get_page_from_freelist|rmqueue"
    r"|fs_reclaim_|might_alloc|printk|_printk|vprintk|console_|trace_hardirqs|__sanitizer_)"
)
# Where an entry into the kernel ends: nothing above it is anybody's fault.
_SUFFIX: Final = re.compile(r"\.(?:isra|constprop|part|cold|llvm|lto_priv)\b.*$")
_WITHIN_PATHS: Final = re.compile(r"(?:\w+::)+(?=[\w{])")
_CRATE_HASH: Final = re.compile(r"Cs[0-9A-Za-z]+_(?=\d)")

_ADDRESS: Final = re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{8,16}\b")
_LINE_OF: Final = re.compile(r"(\.(?:c|h|rs|S)):\d+(?::\d+)?")
_OFFSET: Final = re.compile(r"\+0x[0-9a-f]+/0x[0-9a-f]+")
_NUMBER: Final = re.compile(r"(?<![\w-])\d+\b")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: ``function``, ``offset`` as ``0x1d/0x40`` (may be empty), ``module`` (may be empty)."""

    function: str
    offset: str = ""
    module: str = ""

    def __str__(self) -> str:
        place = f"{self.function}+{self.offset}" if self.offset else self.function
        return f"{place} [{self.module}]" if self.module else place


def _frame(match: re.Match[str]) -> Frame:
    groups = match.groupdict()
    return Frame(groups["function"], groups.get("offset") or "", groups.get("module") or "")


def stack_of(lines: Iterable[str]) -> tuple[Frame, ...]:
    """The first complete trace of a report: where it happened, then its callers.

    Frames marked ``?`` are guesses of the unwinder and left out. A report without a ``Call Trace:``
    (KFENCE) has its stack right below its header.
    """
    place: Frame | None = None
    bare: list[Frame] = []
    stack: list[Frame] = []
    in_trace = bare_done = False
    for text in lines:
        if place is None and not stack and (at := _PC.match(text)):
            place = _frame(at)
        if not in_trace and _TRACE.search(text):
            in_trace = True
        elif _FRAME.match(text) or _ARM_FRAME.match(text):
            frame = frame_in(text)
            if frame is None:
                continue
            if in_trace and len(stack) < MOST_FRAMES:
                stack.append(frame)
            elif not bare_done and len(bare) < MOST_FRAMES:
                bare.append(frame)
        elif in_trace and not _WITHIN.match(text):
            if stack:
                break
        elif bare:
            bare_done = True
    found = stack or bare
    if place is not None:
        same = bool(found) and found[0].function == place.function and found[0].offset in ("", place.offset)
        found = [place, *found[same:]]
    return tuple(found)


def frame_in(text: str) -> Frame | None:
    """The frame on a line of a trace; a guess of the unwinder is none."""
    match = _FRAME.match(text) or _ARM_FRAME.match(text)
    return None if match is None or match.groupdict().get("doubt") else _frame(match)


def is_helper(function: str) -> bool:
    """Whether ``function`` only reports, checks or dies on behalf of its caller."""
    return _HELPERS.match(function) is not None


def guilty(stack: Sequence[Frame], named: str | None) -> str | None:
    """The function to blame: what the header names, else the first frame that is no helper."""
    candidates = [name for name in (function_name(named), *(frame.function for frame in stack)) if name]
    for name in candidates:
        if not is_helper(name):
            return plain_name(name)
    return plain_name(candidates[0]) if candidates else None


def function_name(place: str | None) -> str | None:
    """``kfree`` of ``kfree+0x1d/0x40``; None for a bare address or nothing."""
    if not place:
        return None
    name = place.split("+", 1)[0]
    return None if re.fullmatch(r"(?:0x)?[0-9a-f]{8,}", name) else name


def plain_name(function: str) -> str:
    """The name as its author wrote it, without what the compiler adds.

    Rust's v0 names are demangled; within ``<...>`` only the last part of each path is kept.
    """
    function = _SUFFIX.sub("", function)
    if not function.startswith("_R"):
        return function
    try:
        name: str = demangle(function)
    except Exception:  # the library fails in many ways on a name that was cut short
        return _CRATE_HASH.sub("C", function)
    return _shorten(name.replace("{closure:#", "{closure#"))


def _shorten(name: str) -> str:
    """``<a::b::C as d::E>::f`` as ``<C as E>::f``; ``a::b::f::<c::D>`` as ``a::b::f::<D>``."""
    parts = []
    depth = 0
    for piece in re.split(r"([<>])", name):
        if piece == "<":
            depth += 1
        elif piece == ">":
            depth -= 1
        elif depth:
            piece = _WITHIN_PATHS.sub("", piece)
        parts.append(piece)
    return "".join(parts)


def normalise(text: str) -> str:
    """The text without addresses, line numbers and other numbers."""
    text = _OFFSET.sub("", text)
    text = _LINE_OF.sub(r"\1", text)
    text = _ADDRESS.sub("ADDR", text)
    text = _NUMBER.sub("N", text)
    return " ".join(text.split())[:LONGEST_TITLE]
