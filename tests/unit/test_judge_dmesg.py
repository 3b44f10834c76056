# SPDX-License-Identifier: GPL-2.0-only
"""Rules of the engine that no single log shows."""

from __future__ import annotations

import json

import pytest

from harness.judge import frames
from harness.judge.dmesg import ConsoleParser, parse
from harness.judge.headers import HEADERS
from harness.judge.kinds import Kind
from harness.judge.lines import tail_lines

WARN = """\
[    1.000000][   T77] ------------[ cut here ]------------
[    1.000001][   T77] WARNING: mm/a.c:1 at fn_a+0x1/0x2, CPU#1: insmod/77
[    1.000002][   T77] Call Trace:
[    1.000003][   T77]  fn_b+0x1/0x2
[    1.000004][   T77] ---[ end trace 0000000000000000 ]---
"""


def line(text: str, caller: str = "T77") -> str:
    return f"[    2.000000][{caller:>6}] {text}\n"


def kinds(text: str) -> list[str]:
    return [str(report.kind) for report in parse(text)]


def test_a_report_is_handed_out_while_the_guest_runs_on() -> None:
    parser = ConsoleParser()
    assert parser.feed(WARN.encode()) == []
    chatter = "".join(line(f"message {number}") for number in range(40))
    assert [report.title for report in parser.feed(chatter.encode())] == ["WARNING at mm/a.c in fn_a"]
    assert parser.finish() == []


def test_what_has_begun_can_be_seen_before_its_end() -> None:
    parser = ConsoleParser()
    parser.feed(line("BUG: kernel NULL pointer dereference, address: 0").encode() + line("x").encode())
    assert [report.kind for report in parser.pending()] == [Kind.NULL_DEREF]
    assert [report.kind for report in parser.finish()] == [Kind.NULL_DEREF]


def test_a_panic_that_only_says_that_something_else_happened_belongs_to_it() -> None:
    reports = parse(WARN + line("Kernel panic - not syncing: Fatal exception in interrupt", "C0"))
    assert [(report.kind, report.panicked) for report in reports] == [(Kind.WARNING, True)]


def test_a_panic_in_another_context_with_a_reason_of_its_own_is_a_report() -> None:
    assert kinds(WARN + line("Kernel panic - not syncing: VFS: no root", "T1")) == ["warning", "panic"]


def test_a_panic_long_after_a_warning_is_a_report_of_its_own() -> None:
    chatter = "".join(line(f"message {number}") for number in range(40))
    assert kinds(WARN + chatter + line("Kernel panic - not syncing: lost")) == ["warning", "panic"]


def test_nothing_counts_after_a_panic() -> None:
    assert kinds(line("Kernel panic - not syncing: first") + WARN) == ["panic"]


def test_a_second_oops_in_the_same_task_is_a_second_report() -> None:
    oops = (
        line("Oops: divide error: 0000 [#1] SMP")
        + line("RIP: 0010:f+0x1/0x2")
        + line("---[ end trace 0000000000000000 ]---")
    )
    assert kinds(oops + oops) == ["oops", "oops"]


def test_an_oops_within_an_oops_is_a_second_report() -> None:
    null = line("BUG: kernel NULL pointer dereference, address: 0") + line("Oops: Oops: 0002 [#1] SMP")
    assert kinds(null + line("Oops: Oops: 0002 [#2] SMP")) == ["null-deref", "oops"]


def test_objects_left_in_two_caches_are_two_reports() -> None:
    left = [
        line(f"BUG {name} (Tainted: G O): Objects remaining on __kmem_cache_shutdown()") for name in "aab"
    ]
    assert [report.title for report in parse("".join(left))] == [
        "objects left in slab cache a",
        "objects left in slab cache b",
    ]


def test_nul_bytes_are_let_go() -> None:
    assert kinds(WARN.replace("WARNING", "WAR\x00NING")) == ["warning"]


def test_two_warnings_in_a_row() -> None:
    first, second = parse(WARN + WARN)
    assert first.positions == (1, 2, 3, 4, 5)
    assert second.positions == (6, 7, 8, 9, 10)


def test_a_warning_of_unknown_layout_counts_after_cut_here_only() -> None:
    odd = line("WARNING: something new in kernel 9")
    assert kinds(odd) == []
    [report] = parse(line("------------[ cut here ]------------") + odd)
    assert (report.kind, report.corrupted) == (Kind.WARNING, True)


def test_message_above_the_header_is_part_of_the_report() -> None:
    text = line("------------[ cut here ]------------") + line("planted 42")
    reports = parse(text + "".join(WARN.splitlines(keepends=True)[1:]))
    assert reports[0].raw[1].endswith("planted 42")
    assert reports[0].positions[:3] == (1, 2, 3)


def test_rust_panic_without_its_message_is_not_to_be_trusted() -> None:
    [report] = parse(line("rust_kernel: panicked at a.rs:1:2:"))
    assert report.corrupted


def test_rust_panic_of_old_compilers() -> None:
    [report] = parse(line("rust_kernel: panicked at 'index out of bounds', drivers/a.rs:10:5"))
    assert report.title == "Rust panic at drivers/a.rs: index out of bounds"
    assert report.where == "drivers/a.rs:10"


def test_a_second_boot_is_a_report() -> None:
    boot = "[    0.000000][    T0] Linux version 7.3.4 (x) #1\n"
    assert kinds(boot) == []
    assert kinds(boot + boot) == ["reboot"]


def test_oom_is_a_fact_named_after_its_victim() -> None:
    text = (
        line("hog invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0")
        + "".join(line(f"Node {number}") for number in range(120))
        + line("Out of memory: Killed process 41 (hog) total-vm:1kB, anon-rss:1kB, file-rss:1kB")
    )
    [report] = parse(text)
    assert (report.title, report.is_fact) == ("OOM kill of hog", True)


@pytest.mark.parametrize(
    "kill",
    [
        "Memory cgroup out of memory: Killed process 41 (a b) total-vm:1kB",
        "Out of memory (oom_kill_allocating_task): Killed process 41 (a b) total-vm:1kB",
    ],
)
def test_other_wordings_of_an_oom_kill(kill: str) -> None:
    assert [report.title for report in parse(line(kill))] == ["OOM kill of a b"]


def test_titles_do_not_change_with_the_build() -> None:
    one = line("rust_kernel: panicked at a.rs:1:2:") + line("index 17 out of range for 0xffff888003a11d10")
    two = line("rust_kernel: panicked at a.rs:9:9:") + line("index 3 out of range for 0xffff8880aaaaaaaa")
    assert parse(one)[0].title == parse(two)[0].title == "Rust panic at a.rs: index N out of range for ADDR"


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("fn_a.isra.0", "fn_a"),
        ("_RNvNtCs1SW80L102qG_10rust_folio7helpers11folio_alloc", "rust_folio::helpers::folio_alloc"),
        (
            "_RNvXs2_NtCs164VBaawPhD_10rust_zpool7bucketsNtB5_7BucketsNtNtB7_5zpool11ZpoolDriver4free",
            "<Buckets as ZpoolDriver>::free",
        ),
        ("_RINvCs5oTkF_7plantrs4deepThReEEB2_", "plantrs::deep::<(u8, &str)>"),
        ("_RNvCs123abc_7plantrs4de", "_RNvC7plantrs4de"),
    ],
)
def test_names_are_as_their_author_wrote_them(symbol: str, name: str) -> None:
    assert frames.plain_name(symbol) == name


def test_a_long_dump_of_memory_does_not_push_the_stack_out() -> None:
    text = (
        line("BUG kmalloc-4k (Not tainted): Object corrupt")
        + "".join(line(f"Object   ffff888005f71{place:03x}: 6b 6b 6b  kkk") for place in range(0, 4096, 4))
        + line("Call Trace:")
        + line(" <TASK>")
        + line(" me+0x1/0x2")
        + line(" </TASK>")
    )
    [report] = parse(text)
    assert (report.frame, report.corrupted) == ("me", False)
    assert len(report.raw) < 50


def test_guilty_skips_those_who_only_report() -> None:
    stack = frames.stack_of(
        ["Call Trace:", " dump_stack_lvl+0x1/0x2", " kasan_report+0x1/0x2", " me+0x1/0x2"]
    )
    assert frames.guilty(stack, "kfree+0x1/0x2") == "me"
    assert frames.guilty(stack, None) == "me"
    assert frames.guilty((), "0xffffffffc0001000") is None


def stall(stack: str) -> str:
    """A stall of which another CPU shows the stack; ``<IRQ>`` and the like stand between functions."""
    place, *calls = (name if name.startswith("<") else f"{name}+0x10/0x20" for name in stack.split())
    lines = (
        "rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 1-.... } 75 jiffies",
        "Sending NMI from CPU 0 to CPUs 1:",
        "NMI backtrace for cpu 1",
        "CPU: 1 UID: 0 PID: 77 Comm: op Not tainted 7.3.0 #1 PREEMPTLAZY",
        f"RIP: 0010:{place}",
        "Call Trace:",
        *(f" {call}" for call in calls),
    )
    return "".join(line(text, "C1" if number > 1 else "T9") for number, text in enumerate(lines))


@pytest.mark.parametrize(
    "stack",
    [
        "delay_tsc <TASK> ktime_get __const_udelay fn_poll fn_a </TASK>",
        "fn_of_tick <IRQ> update_process_times tick_nohz_handler __hrtimer_run_queues </IRQ> <TASK> fn_poll",
        "fn_poll <IRQ> print_cpu_stall rcu_sched_clock_irq update_process_times </IRQ> <TASK> fn_a",
    ],
    ids=["clock", "tick", "tick of RCU"],
)
def test_a_stall_is_not_the_fault_of(stack: str) -> None:
    (report,) = parse(stall(stack))
    assert (report.kind, report.frame) == (Kind.RCU_STALL, "fn_poll")


def test_a_stall_in_a_timer_is_the_fault_of_who_set_it() -> None:
    (report,) = parse(stall("fn_timer <IRQ> __hrtimer_run_queues </IRQ> <TASK> fn_a </TASK>"))
    assert report.frame == "fn_timer"


def test_what_has_nothing_but_the_tick_blames_it() -> None:
    (report,) = parse(stall("fn_of_tick <IRQ> update_process_times"))
    assert report.frame == "fn_of_tick"


@pytest.mark.parametrize(("offset", "blamed"), [("0x0", "fn_poll"), ("0x8", "fn_a")])
def test_the_caller_of_what_has_no_frame_yet_is_in_the_link_register(offset: str, blamed: str) -> None:
    calls = (
        "dump_backtrace from show_regs",
        "show_regs from nmi_cpu_backtrace",
        "nmi_cpu_backtrace from do_handle_IPI",
        "do_handle_IPI from ipi_handler",
        "ipi_handler from __irq_svc",
        "__irq_svc from fn_a",
        "fn_a from vfs_write",
    )
    (report,) = parse(
        line("rcu: INFO: rcu_sched detected expedited stalls on CPUs/tasks: { 0-.... } 31 jiffies", "T9")
        + line("Sending NMI from CPU 1 to CPUs 0:", "T9")
        + line("NMI backtrace for cpu 0", "C0")
        + line("CPU: 0 UID: 0 PID: 61 Comm: op Not tainted 7.3.0 #1", "C0")
        + line(f"PC is at ktime_get+{offset}/0x14c", "C0")
        + line("LR is at fn_poll+0x98/0x104 [tool]", "C0")
        + line("pc : [<c019c6e4>]    lr : [<bf002178>]    psr: 60000013", "C0")
        + line("Call trace: ", "C0")
        + "".join(line(f" {call}+0x10/0x20", "C0") for call in calls)
    )
    assert report.frame == blamed


def test_a_report_as_json_is_plain_data() -> None:
    [report] = parse(WARN)
    assert json.loads(json.dumps(report.as_json()))["stack"] == ["fn_b+0x1/0x2"]


def test_the_tail_of_a_console() -> None:
    console = b"".join(b"[    1.000000][    T1] line %d\r\n\r\n" % number for number in range(30))
    assert tail_lines(console, 2) == ("line 28", "line 29")
    assert tail_lines(b"") == ()


def test_every_kind_has_a_header() -> None:
    assert {header.kind for header in HEADERS} == set(Kind)


def test_needles_are_in_what_their_patterns_match() -> None:
    for header in HEADERS:
        assert all(header.needles), header
