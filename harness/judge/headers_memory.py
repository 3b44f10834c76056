# SPDX-License-Identifier: GPL-2.0-only
"""First lines of reports about memory: sanitizers, allocators, pages, lists, references, facts."""

from __future__ import annotations

import re
from typing import Final

from harness.judge.kinds import Header, Kind
from harness.judge.wording import BANNER_END, CUT_END, IN, WHERE, header

_SLUB: Final = r"BUG (?P<cache>\S.*?) \((?:Not tainted|Tainted: [^)]*)\): "

SANITIZERS: Final[tuple[Header, ...]] = (
    # mm/kasan/report.c print_error_description(), kasan_report_async(); until 4.8 "at addr" on the first line
    header(
        Kind.KASAN,
        "BUG: KASAN",
        r"BUG: KASAN:?(?: (?P<what>[\w-]+(?: or [\w-]+)?))?" + IN,
        "KASAN: {what} {access}",
        end=BANNER_END,
        details=r"(?:(?P<access>Read|Write)(?: of size \d+)?(?: at addr \S+)?|Free of addr \S+|Free at \S+)"
        r" by task (?P<task>.+/\d+)",
    ),
    # mm/kfence/report.c kfence_report_error(); the stack follows without a "Call Trace:"
    header(
        Kind.KFENCE,
        "BUG: KFENCE",
        r"BUG: KFENCE: (?P<what>[\w-]+(?: (?!in )[\w-]+)*)" + IN,
        "KFENCE: {what}",
        end=BANNER_END,
    ),
    header(
        Kind.KCSAN,
        "BUG: KCSAN",
        r"BUG: KCSAN: (?P<what>[\w:-]+(?: (?!in )[\w-]+)*) in (?P<frame>\S+)(?: / \S+)?",
        "KCSAN: {what}",
        end=BANNER_END,
    ),
    header(Kind.KMSAN, "BUG: KMSAN", r"BUG: KMSAN: (?P<what>[\w-]+)" + IN, "KMSAN: {what}", end=BANNER_END),
    # lib/ubsan.c ubsan_prologue(); before 5.11 the kind stands on the next line; with traps, no prologue
    header(
        Kind.UBSAN,
        "UBSAN: ",
        r"UBSAN: Undefined behaviour in (?P<where>\S+?:\d+(?::\d+)?)",
        "UBSAN: {what} at {file}",
        end=BANNER_END,
        details=r"(?P<what>signed integer overflow|shift exponent|index|load of|member access"
        r"|division by zero"
        r"|negation|null pointer|misaligned|unsigned integer overflow|call to)\b",
    ),
    header(
        Kind.UBSAN,
        "UBSAN: ",
        r"UBSAN: (?P<what>[\w -]+?) in (?P<where>\S+?:\d+(?::\d+)?)",
        "UBSAN: {what} at {file}",
        end=CUT_END,
    ),
    header(
        Kind.UBSAN,
        "UBSAN: ",
        r"(?:Internal error: )?UBSAN: (?P<what>[\w -]+?)(?: at (?P<frame>[A-Za-z_]\S*)|: [0-9a-f]+ \[#\d+\]"
        r"|$)",
        "UBSAN: {what}",
        end=CUT_END,
    ),
)

CORRUPTION: Final[tuple[Header, ...]] = (
    # mm/page_alloc.c bad_page(), mm/memory.c print_bad_pte(), mm/filemap.c
    header(
        Kind.BAD_PAGE,
        "BUG: Bad page",
        r"BUG: Bad page (?P<what>state|map|cache) in process (?P<comm>.+?)  ?\w+:",
        "BUG: Bad page {what}: {why}",
        details=r"page dumped because: (?P<why>.+)",
    ),
    header(
        Kind.BAD_PAGE,
        "BUG: Bad rss-counter|BUG: non-zero ",
        r"BUG: (?P<what>Bad rss-counter state|non-zero \w+ on freeing mm)",
        "BUG: {what}",
        end=None,
        framed=False,
    ),
    # mm/pgtable-generic.c and each machine's p?d_ERROR()
    header(
        Kind.BAD_PAGE,
        ": bad p",
        r"(?P<where>\S+:\d+): (?P<what>bad (?:pgd|p4d|pud|pmd|pte)) [0-9a-f]",
        "{what}",
        end=None,
        framed=False,
    ),
    # mm/swapfile.c
    header(
        Kind.BAD_PAGE,
        " swap ",
        r"(?:swap: |\w+: )?(?P<what>(?:Bad|Unused) swap (?:file|offset) entry|Bad swap file entry)",
        "{what}",
        end=None,
        framed=False,
    ),
    # mm/page_poison.c
    header(
        Kind.BAD_PAGE,
        "pagealloc: ",
        r"pagealloc: (?P<what>memory corruption|single bit error)",
        "pagealloc: {what}",
    ),
    # lib/list_debug.c and lib/refcount.c, above the WARNING or BUG that they raise
    header(
        Kind.LIST_CORRUPTION,
        "list_add |list_del ",
        r"(?P<what>list_(?:add|del)(?: double add| corruption))",
        "{what}",
        end=CUT_END,
    ),
    header(
        Kind.REFCOUNT, "refcount_t: ", r"refcount_t: (?P<what>.+?)\.?$", "refcount_t: {what}", end=CUT_END
    ),
    # lib/debugobjects.c debug_print_object()
    header(
        Kind.DEBUG_OBJECT,
        "ODEBUG: ",
        r"ODEBUG: (?P<what>\w[\w ]*?) (?:\(active state \d+\)"
        r"|not available).*?object(?:: \S+ object)? type: (?P<cache>\w+)",
        "ODEBUG: {what} {cache}",
        end=CUT_END,
    ),
    # mm/usercopy.c
    header(
        Kind.USERCOPY,
        "usercopy: ",
        r"usercopy: (?:Bad or missing usercopy whitelist\? )?[kK]ernel memory (?P<what>exposure"
        r"|overwrite) attempt",
        "usercopy: kernel memory {what} attempt",
        end=CUT_END,
    ),
)

SLAB: Final[tuple[Header, ...]] = (
    # mm/slab_common.c kmem_cache_destroy(); mm/slub.c list_slab_objects(), until 6.13 slab_err()
    header(
        Kind.SLAB_LEFTOVER,
        "still has objects",
        r"(?:\w+:? )?(?P<cache>\S+): Slab cache still has objects",
        "objects left in slab cache {cache}",
        end=CUT_END,
    ),
    header(
        Kind.SLAB_LEFTOVER,
        "Objects remaining",
        _SLUB + r"Objects remaining ",
        "objects left in slab cache {cache}",
    ),
    # mm/slub.c __slab_bug(); since 6.14 the damaged bytes are named before it
    header(Kind.SLUB, " overwritten] 0x", r"\[(?P<what>[\w -]+ overwritten)\] 0x", "BUG {cache}: {what}"),
    header(Kind.SLUB, "BUG ", _SLUB + r"(?P<what>.+)", "BUG {cache}: {what}"),
    # mm/slab.c, gone in 6.8
    header(
        Kind.SLUB,
        "lab error in|lab corruption",
        r"(?:\w+: )?slab error in \w+\(\): cache `(?P<cache>[^']*)': (?P<what>.+)"
        r"|Slab corruption(?: \([^)]*\))?: (?P<name>\S+) start=",
        "BUG {cache}: {what}",
    ),
)

FACTS: Final[tuple[Header, ...]] = (
    # mm/oom_kill.c; until 4.20 "Kill process" with the victim's score, and the kill on a line of its own
    header(
        Kind.OOM,
        "f memory",
        r"(?:Memory cgroup out|Out) of memory.*?: Kill(?:ed)? process (?P<pid>\d+) \((?P<victim>.*?)\)",
        "OOM kill of {victim}",
        end=None,
        framed=False,
    ),
    header(
        Kind.OOM,
        "Killed process",
        r"Killed process (?P<pid>\d+) \((?P<victim>.*?)\),? total-vm:",
        "OOM kill of {victim}",
        end=None,
        framed=False,
    ),
    header(
        Kind.OOM,
        "invoked oom-killer",
        r"(?P<comm>.+) invoked oom-killer: ",
        "OOM kill of {victim}",
        end=re.compile(r"(?:Memory cgroup out|Out) of memory|Killed process \d+"),
        framed=False,
    ),
    # mm/page_alloc.c warn_alloc(), mm/vmalloc.c, mm/slub.c slab_out_of_memory()
    header(
        Kind.ALLOC_FAILURE,
        "page allocation ",
        r"(?P<comm>.+): page allocation (?:failure: |stalls for \d+ms, )order:(?P<order>\d+)",
        "page allocation failure, order {order}",
        framed=False,
    ),
    header(
        Kind.ALLOC_FAILURE,
        "vmalloc error|vmalloc size|vmalloc: allocation failure",
        r"(?P<comm>.+): vmalloc(?:: allocation failure| error| size)",
        "vmalloc failure",
        framed=False,
    ),
    header(
        Kind.ALLOC_FAILURE,
        "vmap allocation for",
        r"vmap allocation for size \d+ failed",
        "vmap failure",
        end=None,
        framed=False,
    ),
    header(
        Kind.ALLOC_FAILURE,
        "Unable to allocate memory on",
        r"SLU?[BA]B?: Unable to allocate memory",
        "slab allocation failure",
        end=None,
        framed=False,
    ),
)

LEAKS: Final[tuple[Header, ...]] = (
    # mm/kmemleak.c; the summary line comes alone unless kmemleak is verbose
    header(
        Kind.MEMORY_LEAK,
        "unreferenced object",
        r"(?:kmemleak: )?unreferenced object(?: \(\w+\)| percpu)? 0x[0-9a-f]+ \(size (?P<size>\d+)\):",
        "memory leak",
        end=None,
        details=r'(?:kmemleak: )? +comm "(?P<comm>[^"]*)", pid (?P<pid>\d+)',
    ),
    # a watcher's word above what it read of kmemleak
    header(Kind.MEMORY_LEAK, "BUG: ", r"BUG: memory leak$", "memory leak", end=None),
    header(
        Kind.MEMORY_LEAK,
        "new suspected memory leak",
        r"kmemleak: \d+ new suspected memory leaks?",
        "memory leak",
        end=None,
        framed=False,
    ),
    # net/core/dev.c, fs/super.c, fs/dcache.c, fs/open.c
    header(
        Kind.REFERENCE_LEAK,
        "unregister_netdevice: ",
        r"unregister_netdevice: waiting for (?P<cache>\S+) to become free",
        "unregister_netdevice: waiting for a device to become free",
        end=None,
        framed=False,
    ),
    header(
        Kind.REFERENCE_LEAK,
        "VFS: |still in use",
        r"(?P<what>VFS: Busy inodes after unmount|VFS: Close: file count is 0"
        r"|BUG: Dentry (?=.*still in use))",
        "{what}",
        end=None,
        framed=False,
    ),
    # mm/zswap.c zswap_decompress()
    header(
        Kind.ZSWAP_DECOMPRESS,
        "Decompression error from zswap",
        r"(?:zswap: )?Decompression error from zswap",
        "zswap: decompression error",
        end=None,
        framed=False,
    ),
)

# lib/bug.c, kernel/panic.c: what is reported at a place in the sources
PLACES: Final[tuple[Header, ...]] = (
    # rust/kernel/lib.rs panic(): location, a line with the message, then BUG()
    header(
        Kind.RUST_PANIC,
        "panicked at ",
        r"rust_kernel: panicked at (?P<where>[^\s':]\S*?:\d+)(?::\d+)?:?$",
        "Rust panic at {file}: {message}",
        end=CUT_END,
        details=r"(?!-+\[ cut here)(?P<message>.+)",
    ),
    header(
        Kind.RUST_PANIC,
        "panicked at ",
        r"rust_kernel: panicked at '(?P<message>.*)', (?P<where>\S+?:\d+)(?::\d+)?$",
        "Rust panic at {file}: {message}",
        end=CUT_END,
    ),
    header(
        Kind.BUG,
        "ernel BUG ",
        r"[kK]ernel BUG (?:at|in) (?:" + WHERE + r"!?(?:$|\s)|(?P<frame>\S+))",
        "kernel BUG at {file}",
        end=CUT_END,
    ),
    header(
        Kind.BUG,
        "BUG: failure at",
        r"BUG: failure at (?P<where>\S+?:\d+)/(?P<frame>\w+)\(\)",
        "kernel BUG at {file}",
        end=CUT_END,
    ),
    # kernel/panic.c __warn(): 7.3, with and without a file; then 6.12 and before
    header(
        Kind.WARNING,
        "WARNING: ",
        r"WARNING: (?:\[.*?\] )?(?:"
        + WHERE
        + r" )?at (?P<frame>\S+?)(?: [^,]*)?, CPU#(?P<cpu>\d+): (?P<task>.+/\d+)",
        "WARNING at {file}",
        end=CUT_END,
    ),
    header(
        Kind.WARNING,
        "WARNING: ",
        r"WARNING: CPU: (?P<cpu>\d+) PID: (?P<pid>\d+) at (?:" + WHERE + r"(?: |$))?(?P<frame>\S+)?",
        "WARNING at {file}",
        end=CUT_END,
    ),
    header(
        Kind.WARNING,
        "WARNING: ",
        r"WARNING: at " + WHERE + r" (?P<frame>\S+)",
        "WARNING at {file}",
        end=CUT_END,
    ),
    # arch/x86/kernel/unwind_frame.c
    header(
        Kind.WARNING,
        "WARNING: ",
        r"WARNING: (?P<what>kernel stack (?:regs|frame pointer)|can't (?:dereference|access) registers) at ",
        "WARNING: {what}",
        end=None,
        framed=False,
    ),
    header(Kind.WARNING, "WARNING: ", r"WARNING: ", "WARNING", end=CUT_END, needs_cut=True),
)
