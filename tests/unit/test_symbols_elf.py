# SPDX-License-Identifier: GPL-2.0-only
"""Symbols and debug information of small files, compiled in the build root, against LLVM's symbolizer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from harness.build.root import BuildRoot
from harness.build.store import Store
from harness.deadline import Deadline
from harness.errors import UserError
from harness.judge.frames import plain_name
from harness.judge.symbols.elf import Elf
from harness.judge.symbols.image import APPROXIMATE, Image
from harness.judge.symbols.units import Units
from harness.progress import quiet

SOURCE = """\
#define INIT __attribute__((section(".init.text")))
#define INLINE static inline __attribute__((always_inline))
const char banner[] __attribute__((section(".rodata"), used)) = "Linux version 1.2.3-test (x@y) #1";
volatile int where, other;
int elsewhere(int);

INLINE int innermost(int x)
{
	where += x;
	return elsewhere(x) * where;
}

INLINE int middle(int x)
{
	if (other)
		return innermost(x + 1);
	return innermost(x) + other;
}

__attribute__((noinline)) static int twice(int x)
{
	return middle(x) + 1;
}

int outer(int x)
{
	for (int i = 0; i < x; i++)
		where ^= middle(i);
	return twice(x);
}

INIT int starts(int x)
{
	other = 3;
	return middle(x);
}

__attribute__((noreturn, noinline)) void dies(int x)
{
	for (;;)
		where = x;
}

void kills(int x)
{
	other = x;
	dies(x);
}

void follows(void)
{
	elsewhere(4);
	other = 9;
}
"""
TWIN = """\
extern volatile int where, other;
int elsewhere(int x)
{
	return x;
}

__attribute__((noinline)) static int twice(int x)
{
	where = 1;
	other = 2;
	where = x;
	other = where;
	return where * other;
}

int user(int x)
{
	return twice(x);
}
"""
TRIPLES = {
    "x86_64": "x86_64-linux-gnu",
    "arm64": "aarch64-linux-gnu",
    "arm": "arm-linux-gnueabihf",
}
VARIANTS = {
    "5": "-gdwarf-5",
    "4": "-gdwarf-4",
    "5z": "-gdwarf-5 -gz=zlib",
    "64": "-gdwarf-5 -gdwarf64",
}
SCRIPT = r"""
set -e
cd "$1"
compile() {  # name, triple, words
	name=$1; triple=$2; shift 2
	for file in main twin; do
		clang --target=$triple -O2 -fno-pic -ffreestanding -fno-unwind-tables "$@" \
			-c $file.c -o $name.$file.o
	done
	ld.lld -r $name.main.o $name.twin.o -o $name.ko
	ld.lld --build-id=0x0123456789abcdef0123456789abcdef01234567 -e outer \
		$name.main.o $name.twin.o -o $name.elf
}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``ARCH-VARIANT.ko`` and ``.elf`` of :data:`SOURCE` and :data:`TWIN`, and spoilt ones."""
    folder = tmp_path_factory.mktemp("symbols")
    (folder / "main.c").write_text(SOURCE, encoding="utf-8")
    (folder / "twin.c").write_text(TWIN, encoding="utf-8")
    lines = [SCRIPT]
    for arch, triple in TRIPLES.items():
        for name, words in VARIANTS.items():
            if not (arch == "arm" and name == "64"):
                lines.append(f"compile {arch}-{name} {triple} {words}\n")
    lines.append(f"compile none {TRIPLES['x86_64']} -g0\n")
    lines.append(f"compile split {TRIPLES['x86_64']} -gdwarf-5 -gsplit-dwarf\n")
    lines.append("llvm-strip -o stripped.elf x86_64-5.elf\n")
    lines.append("llvm-objcopy --compress-debug-sections=zstd x86_64-5.elf zstd.elf\n")
    root_run(folder, ["bash", "-c", "".join(lines), "build", str(folder)])
    return folder


def root_run(folder: Path, argv: list[str]) -> str:
    """What a tool of the build root says."""
    root = BuildRoot.ensure(Store(), quiet())
    return root.run(argv, writable=[folder], deadline=Deadline.after(120, argv[0]))


def symbolizer(folder: Path, file: Path, addresses: list[int]) -> list[list[tuple[str, str, int]]]:
    """The (function, file, line) of each address and what it is inlined into, as LLVM says it."""
    words = ["llvm-symbolizer", "-i", "-f", f"--obj={file}", *map(hex, addresses)]
    blocks = root_run(folder, words).strip("\n").split("\n\n")
    answer = []
    for block in blocks:
        lines = block.splitlines()
        places = (re.fullmatch(r"(.*):(\d+):\d+", text) for text in lines[1::2])
        pairs = zip(lines[::2], places, strict=True)
        answer.append([(name, place[1].rpartition("/")[2], int(place[2])) for name, place in pairs if place])
    return answer


CASES = [f"{arch}-{name}" for arch in TRIPLES for name in VARIANTS if not (arch == "arm" and name == "64")]


@pytest.mark.parametrize("case", CASES)
def test_every_instruction_is_where_llvm_says(built: Path, case: str) -> None:
    file = built / f"{case}.elf"
    image = Image(file)
    addresses = [
        address
        for name in ("outer", "twice", "starts", "kills", "follows", "dies")
        for symbol in image.elf.named(name)
        for address in range(symbol.address, symbol.address + symbol.size, 1 if "x86" in case else 4)
    ]
    assert len(addresses) > 80
    deepest = 0
    for address, expected in zip(addresses, symbolizer(built, file, addresses), strict=True):
        found = image.at(address)
        mine = [(place.function, (place.file or "").rpartition("/")[2], place.line) for place in found.places]
        if found.note == APPROXIMATE:
            assert expected[0][2] == 0
            mine[0], expected[0] = (*mine[0][:2], 0), expected[0]
        assert mine == expected, hex(address)
        deepest = max(deepest, len(mine))
    assert deepest == 3, "two inlined calls and the function"


@pytest.mark.parametrize("case", CASES)
def test_an_object_file_says_what_the_linked_one_says(built: Path, case: str) -> None:
    linked, loose = Image(built / f"{case}.elf"), Image(built / f"{case}.ko")
    assert loose.elf.relocatable
    # Both sections begin at 0 in the file.
    starts, outer = loose.elf.named("starts")[0], loose.elf.named("outer")[0]
    assert loose.elf.code[starts.section].name == ".init.text" != loose.elf.code[outer.section].name
    for name in ("outer", "starts", "kills"):
        symbol = linked.elf.named(name)[0]
        for offset in range(0, symbol.size, 4):
            one = linked.find(name, offset, symbol.room, exact=True)
            two = loose.find(name, offset, symbol.size, exact=True)
            assert [(p.function, p.line) for p in one.places] == [(p.function, p.line) for p in two.places]


@pytest.mark.parametrize("case", [case for case in CASES if case.endswith(("-5", "-5z"))])
def test_relocations_are_those_of_pyelftools(built: Path, case: str) -> None:
    file = built / f"{case}.ko"
    elf = Elf.open(file)
    with file.open("rb") as stream:
        info = ELFFile(stream).get_dwarf_info(relocate_dwarf_sections=True)
        for name, section in (
            (".debug_info", info.debug_info_sec),
            (".debug_str_offsets", info.debug_str_offsets_sec),
        ):
            if section is not None:
                section.stream.seek(0)
                assert bytes(elf.debug(name)) == section.stream.read()


def test_two_functions_of_one_name_are_told_by_their_size(built: Path) -> None:
    image = Image(built / "x86_64-5.elf")
    one, two = image.elf.named("twice")
    assert one.size != two.size
    for symbol, file in ((one, "main.c"), (two, "twin.c")):
        found = image.find("twice", 1, symbol.room, exact=True)
        assert (found.places[-1].file or "").endswith(file)
        assert image.find("twice", 1, symbol.size, exact=True).symbol == symbol
    unknown = image.find("twice", 1, 0x7777, exact=True)
    assert unknown.places == ()
    assert unknown.note.startswith("ambiguous: 2 functions of this name")


def test_a_size_that_does_not_fit_is_said(built: Path) -> None:
    found = Image(built / "x86_64-5.elf").find("outer", 1, 0x7777, exact=True)
    assert found.places
    assert "not the same build" in found.note
    assert Image(built / "x86_64-5.elf").find("nobody", 1, 2, exact=True).note == "no such function"


def test_a_return_address_belongs_to_the_call_before_it(built: Path) -> None:
    image = Image(built / "x86_64-5.elf")
    (symbol,) = image.elf.named("follows")
    calls = [
        offset
        for offset in range(4, symbol.size)
        if image.elf.calls_before(symbol.address + offset)
        and image.at(symbol.address + offset).places != image.at(symbol.address + offset - 1).places
    ]
    assert calls, "a call that is the last of its line"
    for offset in calls:
        returns = image.find("follows", offset, symbol.room, exact=False)
        assert returns.places == image.at(symbol.address + offset - 1).places
        assert image.find("follows", offset, symbol.room, exact=True).places != returns.places


@pytest.mark.parametrize("arch", ["arm64", "arm"])  # on x86_64 functions are aligned, which leaves a gap
def test_a_call_that_ends_a_function_is_not_in_the_next(built: Path, arch: str) -> None:
    image = Image(built / f"{arch}-5.elf")
    (kills,) = image.elf.named("kills")
    end = kills.address + kills.size
    behind = image.elf.symbol_at(end)
    assert behind is not None
    assert behind.address == end
    found = image.find(behind.name, 0, behind.room, exact=False)
    assert [place.function for place in found.places] == ["kills"]
    # The instruction itself is where it says.
    assert image.find(behind.name, 0, behind.room, exact=True).places[-1].function == behind.name


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("stripped.elf", "has no debug information"),
        ("none.elf", "has no debug information"),
        ("split.elf", r"in other files \(\.dwo\)"),
        ("main.c", "is not an ELF file"),
        ("absent", "cannot be read: No such file"),
        ("empty", "cannot be read: it is empty"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(built: Path, name: str, what: str) -> None:
    (built / "empty").touch()
    with pytest.raises(UserError, match=what):
        Image(built / name)


def test_what_cannot_be_unpacked_is_explained(built: Path) -> None:
    with pytest.raises(UserError, match="compressed in a way that cannot be read") as raised:
        Image(built / "zstd.elf").find("outer", 0, 0, exact=True)
    assert "llvm-objcopy --decompress-debug-sections" in raised.value.todo


def test_a_truncated_file_is_explained(built: Path, tmp_path: Path) -> None:
    whole = (built / "x86_64-5.elf").read_bytes()
    for size in (3, 70, len(whole) // 2, len(whole) - 100):
        cut = tmp_path / "cut.elf"
        cut.write_bytes(whole[:size])
        with pytest.raises(UserError):
            Image(cut).find("outer", 1, 2, exact=True)


def test_facts_of_the_file(built: Path) -> None:
    elf = Elf.open(built / "arm-5.elf")
    assert (elf.machine, elf.address_size) == ("EM_ARM", 4)
    assert elf.build_id == "0123456789abcdef0123456789abcdef01234567"
    assert elf.banner == "Linux version 1.2.3-test (x@y) #1"
    units = Units(elf)
    assert [Path(unit.name).name for unit in units.units] == ["main.c", "twin.c"]
    assert units.at(0) is None


def test_names_of_rust_are_readable() -> None:
    assert plain_name("_RNvNtCs2lKf6AS60Zg_4core9panicking9panic_fmt") == "core::panicking::panic_fmt"
