# SPDX-License-Identifier: GPL-2.0-only
"""The files of a kernel together, and ``harness decode``: with a kernel of two files and one module."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.build.root import BuildRoot
from harness.build.store import Store
from harness.commands.decode import Order, decode_log, misfits
from harness.deadline import Deadline
from harness.errors import UserError
from harness.judge.places import Place
from harness.judge.symbols import Symbols, decode, decode_lines
from harness.judge.symbols.text import Spot
from harness.progress import quiet

KERNEL_ID, MODULE_ID = "a1" * 20, "b2" * 20
SCRIPT = r"""
set -e
cd "$1"
mkdir -p linux/init linux/mm modules/plant out
cat > linux/init/main.c <<'END'
const char banner[] __attribute__((section(".rodata"), used)) = "Linux version 7.3.4-x (a@b) #1";
volatile int v;
void kernel_init(void)
{
	v = 1;
}
END
cat > linux/mm/fault.c <<'END'
extern volatile int v;
static inline __attribute__((always_inline)) void touch(int x)
{
	v = x;
}

void fault(int x)
{
	touch(x);
}
END
cat > modules/plant/plant.c <<'END'
extern volatile int v;
__attribute__((section(".init.text"))) int init_module(void)
{
	v = 4;
	return 0;
}

void plant(int x)
{
	v = 5;
}
END
words="-O2 -g -fno-pic -ffreestanding -fno-unwind-tables -ffunction-sections"
for file in linux/init/main linux/mm/fault; do
	clang --target=x86_64-linux-gnu ${words% *} -c "$1/$file.c" -o $file.o
	clang --target=arm-linux-gnueabihf ${words% *} -c "$1/$file.c" -o $file.arm.o
done
files="linux/init/main.o linux/mm/fault.o"
ld.lld --build-id=0xKERNEL -Ttext=0xffffffff81000000 -e fault $files -o out/vmlinux
ld.lld -e fault ${files//.o/.arm.o} -o vmlinux.arm
cd modules/plant
clang --target=x86_64-linux-gnu ${words% *} -c plant.c -o plant.o
ld.lld -r --build-id=0xMODULE plant.o -o plant.ko
mkdir stripped && llvm-strip --strip-debug -o stripped/plant.ko plant.ko
""".replace("KERNEL", KERNEL_ID).replace("MODULE", MODULE_ID)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``out/vmlinux``, ``modules/plant/plant.ko`` and a vmlinux of another machine."""
    folder = tmp_path_factory.mktemp("kernel")
    root = BuildRoot.ensure(Store(), quiet())
    argv = ["bash", "-c", SCRIPT, "build", str(folder)]
    root.run(argv, writable=[folder], deadline=Deadline.after(60, "clang"))
    return folder


@pytest.fixture
def symbols(folder: Path) -> Symbols:
    return Symbols(folder / "out/vmlinux", {"plant": folder / "modules/plant/plant.ko"})


def sized(symbols: Symbols, name: str, module: str = "") -> str:
    """``/0x..``, as kallsyms would print the size of a function."""
    image = symbols.image(module)
    assert not isinstance(image, str)
    return f"/{image.elf.named(name)[0].room:#x}"


@dataclass(frozen=True)
class Frame:
    function: str
    offset: str = ""
    module: str = ""


def test_a_report_of_kernel_and_module(symbols: Symbols) -> None:
    frames = [
        Frame("fault", "0x0" + sized(symbols, "fault")),
        Frame("plant", "0x1" + sized(symbols, "plant", "plant"), "plant"),
        Frame("kernel_init"),
        Frame("nobody", "0x1/0x2"),
        Frame("plant", "0x1/0x2", "absent"),
    ]
    inlined, planted, head, nobody, absent = decode(frames, symbols, faulted=True)
    assert inlined.places == (Place("touch", "mm/fault.c", 4), Place("fault", "mm/fault.c", 9))
    assert planted.places == (Place("plant", "plant/plant.c", 10),)
    assert planted.text == f"plant+0x1{sized(symbols, 'plant', 'plant')} [plant]"
    # An ARM trace names the callee without an offset.
    assert head.places == (Place("kernel_init", "init/main.c", 5),)
    assert (nobody.places, absent.places) == ((), ())


def test_notes_say_why_a_frame_is_unknown(symbols: Symbols, folder: Path) -> None:
    symbols.modules = {**symbols.modules, "other": folder / "vmlinux.arm", "gone": folder / "gone.ko"}
    lines = [
        " a+0x1/0x2 [absent]",
        " a+0x1/0x2 [other]",
        " a+0x1/0x2 [gone]",
        f" plant+0x0/0x8 [plant {'c3' * 20}]",
        " fault+0x1/0x2",
    ]
    notes = [annotation.found[0].note for annotation in decode_lines(lines, symbols)]
    assert "there is no absent.ko" in notes[0]
    assert "is for EM_ARM, the kernel is for EM_X86_64" in notes[1]
    assert "gone.ko cannot be read" in notes[2]
    assert f"its id is {MODULE_ID}" in notes[3]
    assert "not the same build" in notes[4]
    good = f" plant+0x1{sized(symbols, 'plant', 'plant')} [plant {MODULE_ID}]"
    assert next(decode_lines([good], symbols)).found[0].note == ""


def test_addresses_alone_are_found_where_things_were_loaded(symbols: Symbols) -> None:
    loaded = {"plant": {".text": 0xFFFFFFFFA0001000, ".init.text": 0xFFFFFFFFA0005000}}
    symbols.loaded = loaded

    def at(address: int, moved: int = 0) -> list[str]:
        spot = Spot("", 0, 0, address=address, exact=True)
        return [place.function for place in symbols.resolve(spot, moved).places]

    (fault,) = symbols.kernel.elf.named("fault")
    assert at(fault.address) == ["touch", "fault"]
    assert at(fault.address + 0x12000000, 0x12000000) == ["touch", "fault"]
    assert at(0xFFFFFFFFA0001000) == ["plant"]
    assert at(0xFFFFFFFFA0005000) == ["init_module"]
    assert at(0xFFFFFFFFA0009000) == []


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """``harness decode`` of a log: its output and what it warned of."""

    def run(log: str, as_json: bool = False) -> tuple[str, str]:
        file = tmp_path / "log"
        file.write_text(log, encoding="utf-8")
        modules = (folder / "modules",)
        decode_log(Order(str(file), folder / "out", modules, as_json=as_json))
        said = capsys.readouterr()
        return said.out, said.err

    return run


def test_the_log_comes_back_with_lines_below_its_frames(run: Run, symbols: Symbols) -> None:
    size, planted = sized(symbols, "fault"), sized(symbols, "plant", "plant")
    caller = "<4>[    1.000000][   T1] "
    log = f"{caller}RIP: 0010:fault+0x0{size}\nnothing\n{caller} plant+0x1{planted} [plant]\n"
    out, err = run(log)
    assert err == ""
    assert out.splitlines() == [
        log.splitlines()[0],
        " " * 25 + "    touch at mm/fault.c:4",
        " " * 25 + "        inlined into fault at mm/fault.c:9",
        "nothing",
        log.splitlines()[2],
        " " * 26 + "    plant at plant/plant.c:10",
    ]


def test_frames_as_data(run: Run, symbols: Symbols) -> None:
    log = f"x\nRIP: 0010:fault+0x0{sized(symbols, 'fault')}\n nobody+0x1/0x2\n"
    frames = json.loads(run(log, as_json=True)[0])["frames"]
    assert [(frame["line"], frame["function"], frame["exact"]) for frame in frames] == [
        (2, "fault", True),
        (3, "nobody", False),
    ]
    assert frames[0]["places"][0] == {"function": "touch", "file": "mm/fault.c", "line": 4}
    assert (frames[1]["places"], frames[1]["note"]) == ([], "no such function")


def test_an_unknown_frame_is_marked(run: Run) -> None:
    assert run(" nobody+0x1/0x2\n")[0].splitlines()[1].strip() == "?? nobody+0x1/0x2: no such function"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("Linux version 7.3.4-x (a@b) (clang) #1 SMP", ""),
        ("Linux version 6.12.1-y (a@b) (clang) #1 SMP", "of Linux 6.12.1-y"),
        ("CPU: 0 UID: 0 PID: 1 Comm: sh Not tainted 7.3.4-x #1 PREEMPT", ""),
        (
            "CPU: 0 UID: 0 PID: 1 Comm: sh Tainted: G    B   W  O        6.12.1-y #2 PREEMPTLAZY",
            "of Linux 6.12.1-y",
        ),
        ("CPU: 0 UID: 0 PID: 1 Comm: sh Not tainted 7.3.4-x #2 PREEMPT", "build number 2"),
        ("Linux version 7.3.4-x (a@b) (clang) #2 SMP", "build number 2"),
        (f"CPU: 0 PID: 1 Comm: sh Tainted: G        W 7.3.4-x #1 {KERNEL_ID}", ""),
        (f"CPU: 0 PID: 1 Comm: sh Tainted: G        W 7.3.4-x #1 {'c3' * 20}", f"build id {'c3' * 20}"),
        ("PC is at fault+0x1/0x2", "of EM_ARM"),
        ("RIP: 0010:fault+0x1/0x2", ""),
        ("BUG c (Tainted: G    B   W  O       ): Objects remaining on __kmem_cache_shutdown()", ""),
    ],
)
def test_a_log_of_another_kernel_is_noticed(symbols: Symbols, line: str, what: str) -> None:
    said = list(misfits([f"<4>[    1.000000][   T1] {line}"], symbols))
    assert len(said) == bool(what)
    assert what in "".join(said)


def test_standard_input_is_a_log(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = io.TextIOWrapper(io.BytesIO(b"\xff nobody+0x1/0x2\n"))
    monkeypatch.setattr("sys.stdin", data)
    decode_log(Order("-", folder / "out/vmlinux"))
    assert "no such function" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"log": "absent.log"}, "absent.log cannot be read: No such file"),
        ({"kernel": "absent"}, "there is no file"),
        ({"kernel": "modules"}, "holds no vmlinux"),
        ({"kernel": "modules/plant/plant.c"}, "is not an ELF file"),
        ({"kernel": "modules/plant/plant.ko"}, "is an object file"),
        ({"modules": "out"}, "there is no .ko file below"),
        ({"modules": "absent.ko"}, "there is no module"),
    ],
)
def test_what_was_named_wrongly_is_explained(
    folder: Path, tmp_path: Path, words: dict[str, str], what: str
) -> None:
    log = tmp_path / "log"
    log.touch()
    kernel = folder / words.get("kernel", "out")
    modules = [folder / words["modules"]] if "modules" in words else []
    with pytest.raises(UserError, match=what):
        decode_log(Order(words.get("log", str(log)), kernel, modules))


def test_of_two_modules_the_one_with_debug_information_is_taken(folder: Path) -> None:
    from harness.commands.decode import symbols_of

    found = symbols_of(Order("-", folder / "out", [folder / "modules"])).modules
    assert found == {"plant": folder / "modules/plant/plant.ko"}
