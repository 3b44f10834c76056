# SPDX-License-Identifier: GPL-2.0-only
"""What the lines below a report's header look like: a table of data, made into one pattern.

A report reaches to the last of these lines. The same look that recognises a line takes a stack frame
apart, because a log full of reports is mostly stack frames.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple


class Part(StrEnum):
    """What a line in the body of a report is."""

    FRAME = "frame"
    ARM_FRAME = "arm_frame"
    """``callee from caller+0x1/0x2``: arch/arm/kernel/traps.c dump_backtrace_entry()."""
    PLACE = "place"
    """Where the processor was: RIP, pc, epc, NIP, ERA, PSW."""
    TRACE = "trace"
    """The line above a stack."""
    WITHIN = "within"
    """Between the frames of a stack: ``<TASK>``, an interrupt's frame."""
    CPU = "cpu"
    """``CPU: 1 UID: 0 PID: 77 Comm: insmod Tainted: G ...``."""
    DUMP = "dump"
    """Memory in hexadecimal: a SLUB report of a large object has hundreds of lines of it."""
    OTHER = "other"


class Found(NamedTuple):
    """A line of a body. ``function`` and the rest are filled for frames, places and the link register."""

    part: Part
    function: str = ""
    offset: str = ""
    module: str = ""
    doubtful: bool = False
    inlined: bool = False
    """Only a decoder names it: the function is a part of the next one."""


_NAME: Final = r"[A-Za-z_.$][\w.$]*+"
_OFFSET: Final = r"0x[0-9a-f]+/0x[0-9a-f]+"
_ADDRESSES: Final = r"(?:\(?\[<[^>]{0,24}>\] ?\)?|\[[0-9a-f]{8,16}\]:? ?(?:\[[0-9a-f]{8,16}\] ?)?)?"
_SOURCE: Final = r" \(?(?:[\w./+-]+\.(?:c|h|rs|S|cc):[\d?]|\?\?:\?)"

_FRAME: Final = (
    r"(?:kmemleak:)?\s*(?:\|- )?(?:<{1,2}[A-Z#0-9]+>{1,2} +){0,2}(?:Call Trace: *)?"
    + _ADDRESSES
    + r"\s*(?P<doubt>\? )?"
    rf"(?P<f_name>{_NAME})(?:\+(?P<f_offset>{_OFFSET})"
    rf"|(?={_SOURCE}))(?: \[(?P<f_module>[\w-]+)(?: [^\]]*)?\])?"
    r"(?=$|[ )])(?! from \[?)"
)
_ARM_FRAME: Final = (
    r" *(?:\[<[0-9a-f]+>\] ?)?\(?(?P<a_name>[\w.$]+)(?:\+0x[0-9a-f]+/0x[0-9a-f]+)?"
    r"(?: \[(?P<a_module>[\w-]+)\])?\)? from "
    r"(?:\[<|[\w.$]+(?:\+| \[)|0x)"
)
_PLACE: Final = (
    r"(?:RIP: [0-9a-f]{4}:|RIP: |RIP +|EIP: (?:[0-9a-f]{4}:)?|EIP is at |IP: |PC is at |pc is at |pc : "
    r"|epc *: (?:[0-9a-f]{8,16} )?| +ERA: [0-9a-f]{16} |NIP |NIP: |Krnl PSW : [0-9a-f]+ [0-9a-f]+ \("
    r"|(?:RPC|TPC|PC): <?|PC: \[<[0-9a-f]+>\] | *IAOQ\[0\]: |\[ERET *\]: | *PC: )"
    r"(?:\[?\[<[^>]{0,24}>\]? +)*(?:\[[0-9a-f]{8,16}\] )?"
    rf"(?P<p_name>{_NAME})(?:\+(?P<p_offset>{_OFFSET})"
    rf"|(?={_SOURCE}))(?: \[(?P<p_module>[\w-]+)(?: [^\]]*)?\])?"
)
_TRACE: Final = (
    r"(?:.* )?Call [Tt]race:|Call Trace\b|Backtrace: ?$|Backtrace:|  ?backtrace \(crc|kmemleak:   backtrace"
    r"|  backtrace:|stack backtrace:|Trace:$"
)
_WITHIN: Final = (
    r"(?:\[[0-9a-f]{8,16}\] ){2}0x|    LR = "
    r"| *</?[A-Z][A-Z_#0-9]*>(?: |$)|-+ interrupt:|Exception stack\(| +r\d+: ?[0-9a-f]{8}"
)
_CPU: Final = r"(?:Pid|CPU: \d+(?: UID: \d+)? PID): \d+"
DUMP: Final = (
    r"(?:Object|Redzone|Padding|Bytes b4) +(?:[0-9a-f]{8}|\(____ptrval)|[0-9a-f]{4}: ?(?:[0-9a-f]{8}| {8})"
    r"|[0-9a-f]{3}: (?:[0-9a-f]{2} ){4}|[0-9a-f]{8}: (?:[0-9a-f]{2} ){8}"
)
_OTHER: Final = "|".join(
    (
        # registers of all machines
        r"(?:EFLAGS|R[A-Z0-9]{2}|[FGCD]S|CR[0-9]|DR[0-9]|PKRU|EA[XBCD]|E(?:SI|AX|BX|CX|DX)|ESI|DS|MSR|CFAR"
        r"|REGS|GPR\d\d|NIP|LR|CTR|XER): "
        r"|[FCDEGS]S: +[0-9a-f]",
        r"x\d+ *: [0-9a-f]{16}|r\d+ ?: [0-9a-f]{8}|(?:lr|sp|pc|ip|fp|psr|pstate|epc|ra|gp|tp|[ast]\d|hi|lo"
        r"|Hi|Lo) *: ",
        r"(?:pc|a[04]|t[048]|s[159]|ra|sp|tp) [0-9a-f]{16} | +(?:ra|ERA|CRMD|PRMD|EUEN|ECFG|BADV|PRID): "
        r"|ESTAT: ",
        r" (?:ra|gp|t1|s1|a[25]|s[258]|s11|t5) ?: |status: [0-9a-f]{16}|\$ *\d+ *: |Status: |Cause : "
        r"|BadVA ?: |PrId +: "
        r"|Krnl GPRS: | {10,}(?:[0-9a-f]{16} |R:\d)|Last Breaking-Event-Address:|Instruction dump:"
        r"|Krnl Code: ",
        r"(?:PC|LR|pc|lr|ra) is at |LR \[|Flags: |Control: |Register r\d+ information|Process \S.* \(pid:"
        r"|Stack: ?\(0x|Stack ?:",
        r"Exception stack|Mem abort info|Data abort info|  (?:ESR|EC|SET|EA|FSC|ISV|CM|SF|GCS|Xs|SSE"
        r"|Access size)\b.* = "
        r"|user pgtable|swapper pgtable|Current \S+ pgtable|\[[0-9a-f]{8,16}\] (?:pgd|\*pgd|user address"
        r"|address between)"
        r"|pgd = |\*pd|Tables? ?:|Faulting instruction address|Failing address|Fault in |AS:[0-9a-f]{16}",
        r"PGD |#PF|Oops\b|BUG: (?:TASK|IRQ) stack|Code: |Code;|---\[ |CR2: |Kernel Offset:"
        r"|Shutting down cpus|RAX:|Comm:",
        r"(?:Hardware name|Modules linked in|Workqueue|Tainted|task|Stopper|Sched_ext|Call site|CPU): "
        r"|CPU \d|\[last unloaded"
        r"|Hardware name:|Modules linked in:|Dumping ftrace|note: .* exited with|Rebooting in "
        r"|Machine halted",
        # lockdep
        r"(?:hardirqs|softirqs) last|irq event stamp|Preemption disabled at|other info that might"
        r"|the existing dependency"
        r"|-> #\d|\d+ locks? held by|no locks held| #\d+: |Possible (?:unsafe|interrupt unsafe)"
        r"|which lock already depends"
        r"|but (?:task is already|there are no more|this task is not)|is trying to (?:acquire|release|lock)"
        r"|.* is trying to acquire lock"
        r"|(?:the )?(?:shortest )?dependenc|stack backtrace|and (?:this task|interrupts could)"
        r"|\{[A-Z-]+\} state was registered"
        r"|inconsistent \{|rcu_scheduler_active|INFO: lockdep is turned off|  *lock\(|  *\*\*\* |(?:lock"
        r"|unlock|locked) (?:at|is)"
        r"|context-\{|(?:the|to a|which|... (?:which|key|acquired))\b.*(?:lock|depend)",
        # memory
        r"(?:Allocated|Freed) (?:by task|in )|(?:Read|Write|Free)(?: of size \d+)? (?:of|at) addr"
        r"|The buggy address|Memory state around"
        r"|[> ]?[0-9a-f]{8,16}: (?:[0-9a-f]{2} ){4}| *\^|page[:_](?: ?refcount|dumped|type|owner)?"
        r"|flags: 0x|raw: [0-9a-f]{8}|head: ?"
        r"|page last |page dumped because|page has been|Last potentially related|Second to last|Uninit was"
        r"|Local variable|Bytes? \d+"
        r"|Memory access of size|Slab 0x|Object 0x|INFO: (?:Slab|Object|0x|Allocated|Freed|Slab 0x)|FIX "
        r"|Disabling lock debugging"
        r"|which belongs to|allocated by task|freed by task|kfence-#|(?:kmemleak: )?  (?:comm|hex dump"
        r"|[0-9a-f]{2} [0-9a-f]{2} )"
        r"|value changed|(?:read|write|race)[\w -]* to 0x|Reported by Kernel Concurrency|KASAN: |Free pointer"
        r"|Node \d|Mem-Info|active_anon|lowmem_reserve|\d+ (?:total pagecache|pages)|Tasks state|oom-kill:"
        r"|oom_reaper:|\[ *\d+\] +\d+",
        # stalls
        r"(?:rcu: )?\t|Sending NMI|NMI backtrace|task:|(?:rcu: )?(?:rcu\w+ kthread|RCU grace-period"
        r"|Stack dump where|Tasks blocked)"
        r"|  *\d+-[.O!?][.o!?]| *\(detected by|\((?:detected by|t=\d)|Showing (?:all locks|busy workqueues)"
        r"|workqueue \S|  pwq|    (?:in-flight|pending)"
        r"|INFO: (?:Stall ended|task .* (?:is )?blocked on a)|Blocked by|Not tainted|      (?:Not tainted"
        r"|Tainted)|\"echo 0 > |csd:",
        r"\[<[0-9a-f ]+>\]| \[<|Function entered at|list_(?:add|del)\b|kobject_|caller is |last function:"
        r"| *in_atomic\(\)|preempt_count:"
        r"|RCU nest depth|non-atomic|(?:CONFIG_)?(?:failed|error) .*expected|\S+ \+ \S+|shift exponent"
        r"|index -?\d+ is out of range"
        r"|signed integer|load of (?:value|address|misaligned|null)|member access|[=-]{20,}$|=+ *$",
    )
)

_COMMON: Final = f"(?P<trace>{_TRACE})|(?P<cpu>{_CPU})|(?P<dump>{DUMP})|(?P<other>{_OTHER})"
# Indented lines are mostly frames, the others mostly not: which pattern comes first is a matter of speed.
_INDENTED: Final = re.compile(
    f"(?P<frame>{_FRAME})|(?P<within>{_WITHIN})|(?P<place> *{_PLACE})|(?P<arm_frame>{_ARM_FRAME})|{_COMMON}"
)
_FLUSH: Final = re.compile(
    f"(?P<place>{_PLACE})|(?P<frame>{_FRAME})|(?P<within>{_WITHIN})|(?P<arm_frame>{_ARM_FRAME})|{_COMMON}"
)
# The register that says where a function returns to; its number alone is of no use here.
_LINK: Final = re.compile(
    r"(?:LR is at|lr :) (?P<name>[A-Za-z_$.][\w$.]*)"
    r"\+(?P<offset>0x[0-9a-f]+/0x[0-9a-f]+)(?: \[(?P<module>[\w-]+)\])?"
)
SHORT: Final = 160
"""Lines below this length are remembered."""
_INLINED: Final = " [inline]"
_OF: Final = {str(part): part for part in Part}
_PLAIN: Final = {part: Found(part) for part in Part}


def look(text: str) -> Found | None:
    """What ``text`` (without prefixes) is in the body of a report; None when it is no part of one.

    A log full of reports says the same lines again and again, so short ones are remembered.
    """
    return remembered(text) if len(text) < SHORT else _look(text)


def _look(text: str) -> Found | None:
    match = (_INDENTED if text.startswith((" ", "\t")) else _FLUSH).match(text)
    if match is None:
        return None
    part = _OF[match.lastgroup or "other"]
    if part is Part.FRAME:
        name, offset, module, doubt = match.group("f_name", "f_offset", "f_module", "doubt")
        return Found(
            part, name, offset or "", module or "", doubt is not None, not offset and _INLINED in text
        )
    if part is Part.ARM_FRAME:
        name, module = match.group("a_name", "a_module")
        return Found(part, name, "", module or "")
    if part is Part.PLACE:
        name, offset, module = match.group("p_name", "p_offset", "p_module")
        return Found(part, name, offset or "", module or "", False, not offset and _INLINED in text)
    if part is Part.OTHER and (link := _LINK.match(text)):
        name, offset, module = link.group("name", "offset", "module")
        return Found(part, name, offset, module or "")
    return _PLAIN[part]


remembered: Final = lru_cache(maxsize=8192)(_look)
