# SPDX-License-Identifier: GPL-2.0-only
"""The command line. It reads words, calls the rooms, and turns errors into one message and a code."""

from __future__ import annotations

import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from harness import targets
from harness.errors import EXIT_BROKEN, EXIT_INTERRUPTED, HarnessError, InfrastructureError
from harness.progress import Progress
from harness.targets import DEFAULT_TARGET

app = typer.Typer(
    name="harness",
    help="Integration tests for Rust kernel modules in memory management, in QEMU guests.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

TargetOption = Annotated[
    list[str] | None,
    typer.Option("--target", "-t", metavar="TARGET", help="What to test, or all; can be repeated."),
]
OneTargetOption = Annotated[str, typer.Option("--target", "-t", metavar="TARGET", help="What to test.")]
ModuleOption = Annotated[
    list[Path] | None,
    typer.Option("--module", metavar="DIR", help="A module of yours; replaces ours of the same name."),
]
TreeOption = Annotated[
    str | None,
    typer.Option("--tree", metavar="TREE", help="A kernel of yours: a directory, a tarball, DIR@GITREF."),
]
JobsOption = Annotated[
    int, typer.Option("--jobs", "-j", min=0, metavar="N", help="Guests at once; 0: as many as processors.")
]


@app.command()
def build(target: TargetOption = None, module: ModuleOption = None, tree: TreeOption = None) -> None:
    """Build the kernel, the modules and the guest; nothing is booted."""
    from harness.drive.workbench import Workbench

    with Progress() as progress:
        bench = Workbench(module or (), tree, progress)
        for one in targets.named(target or ()):
            kernel = bench.artefacts(one).kernel
            for name in bench.module_names:
                bench.module(one, name)
            typer.echo(f"{one.name}: Linux {kernel.release} in {kernel.build_dir}")


@app.command()
def run(
    target: TargetOption = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option("--scenario", "-k", metavar="SCENARIO", help="Z06, or Z for a family; can be repeated."),
    ] = None,
    module: ModuleOption = None,
    tree: TreeOption = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the results here.")] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Boot a guest for each scenario instead of cloning a frozen one.")
    ] = False,
    jobs: JobsOption = 0,
) -> None:
    """Build what is missing, run scenarios, and show the verdicts."""
    from harness.commands.run import Order, run_scenarios

    order = Order(targets.named(target or ()), scenario or (), module or (), tree, json, cold, jobs)
    raise typer.Exit(run_scenarios(order))


@app.command("selftest")
def selftest_(
    target: TargetOption = None,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", "-k", metavar="FAULT", help="A fault, or part of its name; can be repeated."),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Keep the consoles in tests/golden, with what was found in them.")
    ] = False,
    jobs: JobsOption = 0,
) -> None:
    """Plant faults in guests, and see that each is found and nothing else is."""
    from harness.commands.selftest import Order, run_selftest

    raise typer.Exit(run_selftest(Order(targets.named(target or ()), fault or (), update, jobs)))


@app.command()
def shell(
    target: OneTargetOption = DEFAULT_TARGET, module: ModuleOption = None, tree: TreeOption = None
) -> None:
    """Open a shell in a clone; the modules are in /modules. Leave with exit or Ctrl-]."""
    from harness.commands.shell import open_shell

    open_shell(targets.target(target), module or (), tree)


@app.command()
def judge(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Kernel logs, plain or gzipped; - for standard input."),
    ],
    json: Annotated[
        bool, typer.Option("--json", help="Print one object a line, in the order given.")
    ] = False,
) -> None:
    """Say what saved kernel logs report: exit code 1 when one does, 2 when one cannot be read."""
    from harness.commands.judge import judge_files

    raise typer.Exit(judge_files(files, json))


@app.command()
def decode(
    log: Annotated[str, typer.Argument(metavar="LOG", help="A kernel's console; - for standard input.")],
    kernel: Annotated[
        Path | None,
        typer.Option("--kernel", metavar="PATH", help="vmlinux or its build directory; else the target's."),
    ] = None,
    module: Annotated[
        list[Path] | None, typer.Option("--module", metavar="PATH", help="A .ko file, or where they are.")
    ] = None,
    target: OneTargetOption = DEFAULT_TARGET,
    json: Annotated[bool, typer.Option("--json", help="Print the frames as data.")] = False,
) -> None:
    """Show a log with the files, lines and inlined callers of its frames."""
    from harness.commands.decode import Order, decode_log

    decode_log(Order(log, kernel, module or (), target, json))


@app.command()
def report(
    folder: Annotated[
        Path | None, typer.Argument(metavar="RUN_DIR", help="A run's evidence; the latest run's without it.")
    ] = None,
) -> None:
    """Make report.html and the other reports of a run again."""
    from harness.commands.report import make_again

    for path in make_again(folder):
        typer.echo(path)


@app.command("list")
def list_() -> None:
    """Show targets and scenarios, and what is cached."""
    from harness.commands.look import show_list

    show_list(Console())


@app.command()
def doctor() -> None:
    """Say what this machine can do, and what to do about what it cannot."""
    from harness.commands.look import show_doctor

    raise typer.Exit(show_doctor(Console()))


@app.command()
def bench(
    target: TargetOption = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the figures here.")] = None,
    long: Annotated[
        bool,
        typer.Option("--long", help="Also time every scenario, cloned and booted, make run and make test."),
    ] = False,
) -> None:
    """Measure how fast guests, scenarios and rebuilds are."""
    from harness.bench import run_bench

    run_bench(targets.named(target or ()), json, Console(), long=long)


@app.command()
def clean(
    kind: Annotated[
        list[str] | None, typer.Argument(help="What to remove; everything without a word.")
    ] = None,
) -> None:
    """Give back the disk space of the cache."""
    from harness.commands.look import clean_cache

    clean_cache(kind or ())


def _explain(error: HarnessError) -> None:
    console = Console(stderr=True, soft_wrap=True)
    console.print(Text.assemble(("harness:", "bold red"), " ", error.what))
    if error.todo:
        console.print(Text(f"         {error.todo}"))
    if error.evidence is not None:
        console.print(Text(f"         see {error.evidence}"))


def _confess() -> None:
    """Something that nobody foresaw: a defect of ours, told in two lines, with the traceback in a file."""
    with tempfile.NamedTemporaryFile("w", prefix="harness-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    _explain(
        InfrastructureError(
            "this is a defect of the harness", "please report it with the file", Path(file.name)
        )
    )


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The entry point: every foreseeable error becomes a message and its exit code."""
    try:
        app(list(argv) if argv is not None else None)
    except HarnessError as error:
        _explain(error)
        sys.exit(error.exit_code)
    except Exception:
        _confess()
        sys.exit(EXIT_BROKEN)
    except SystemExit as leave:
        # typer turns Ctrl-C into this code without a word.
        if leave.code == EXIT_INTERRUPTED:
            typer.echo("harness: interrupted; what is finished is kept, the next run goes on there", err=True)
        raise
    sys.exit(0)
