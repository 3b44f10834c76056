# SPDX-License-Identifier: GPL-2.0-only
"""Why an option could not have the value that was asked for.

This reads a tree's Kconfig files well enough to name the symbols at fault; it does not decide
anything, the kernel's own ``conf`` has done that. Known and left out: macros (``$(...)``) count as
unknown, and the ``if`` around a ``source`` line in another file is not seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_BLOCK: Final = re.compile(
    r"(config|menuconfig|menu|choice|comment|if|endif|endmenu|endchoice|source|mainmenu)\b\s*(.*)"
)
_TOKEN: Final = re.compile(r'\s*(&&|\|\||!=|<=|>=|[!=<>()]|"[^"]*"|\$\([^)]*\)|[\w.-]+)')
_TYPE: Final = re.compile(r"(bool|tristate|string|int|hex|def_bool|def_tristate|prompt)\b\s*(.*)")
_TRISTATE: Final = {"n": 0, "m": 1, "y": 2}


@dataclass(slots=True)
class Definition:
    """What one or more ``config`` blocks of a name say."""

    name: str
    kind: str = ""
    prompt: bool = False
    depends: list[str] = field(default_factory=list)
    """All of these must hold; only those of one block, since blocks are alternatives."""
    visible: list[str] = field(default_factory=list)
    """Conditions on the prompt: without them the option cannot be set by hand."""
    place: str = ""


@dataclass(slots=True)
class Definitions:
    """The blocks of the names asked for, and who selects them: (selecting symbol, condition)."""

    blocks: dict[str, list[Definition]] = field(default_factory=dict)
    selected_by: dict[str, list[tuple[str, str]]] = field(default_factory=dict)


def source_arch(kernel_arch: str) -> str:
    """The directory below ``arch`` for ``ARCH=kernel_arch``."""
    return {"x86_64": "x86", "i386": "x86"}.get(kernel_arch, kernel_arch)


def read(tree: Path, kernel_arch: str, names: set[str]) -> Definitions:
    """Collect what the Kconfig files of ``tree`` say of ``names``, without those of other architectures."""
    found = Definitions()
    for path in sorted(tree.rglob("Kconfig*")):
        parts = path.relative_to(tree).parts
        foreign = parts[0] == "arch" and parts[1] not in (source_arch(kernel_arch), "Kconfig")
        if path.is_file() and not foreign and parts[0] not in ("Documentation", "tools", "scripts"):
            _read_file(path, "/".join(parts), names, found)
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their number, continuation lines joined, help texts and comments left out."""
    help_indent: int | None = None
    pending, start = "", 0
    for number, raw in enumerate(text.expandtabs(8).splitlines(), start=1):
        stripped = raw.strip()
        indent = len(raw) - len(raw.lstrip())
        if help_indent is not None:
            if not stripped or help_indent < 0 or indent >= help_indent:
                if stripped and help_indent < 0:
                    help_indent = indent if indent > 0 else None
                    if help_indent is not None:
                        continue
                else:
                    continue
            else:
                help_indent = None
        if not pending:
            start = number
        if stripped.endswith("\\"):
            pending += stripped[:-1] + " "
            continue
        line, pending = pending + stripped, ""
        if line in ("help", "---help---"):
            help_indent = -1
        elif line and not line.startswith("#"):
            yield start, line


def _read_file(path: Path, name: str, names: set[str], found: Definitions) -> None:
    text = path.read_text(encoding="utf-8", errors="replace")
    if not any(wanted in text for wanted in names):
        return
    around: list[tuple[str, list[str]]] = []
    """Enclosing if, menu and choice blocks with the conditions they put on what is inside."""
    current: Definition | None = None
    inside = ""
    for number, line in _logical_lines(text):
        block = _BLOCK.fullmatch(line)
        if block is not None:
            word, rest = block.groups()
            current, inside = None, ""
            if word in ("config", "menuconfig"):
                inside = rest.strip()
                if inside in names:
                    current = Definition(inside, place=f"{name}:{number}")
                    current.depends = [condition for _, conditions in around for condition in conditions]
                    found.blocks.setdefault(inside, []).append(current)
            elif word in ("if", "menu", "choice"):
                around.append((word, [rest] if word == "if" else []))
            elif word.startswith("end") and around:
                around.pop()
        elif found_depends := re.fullmatch(r"depends on (.*)", line):
            if current is not None:
                current.depends.append(found_depends.group(1))
            elif not inside and around:
                around[-1][1].append(found_depends.group(1))
        elif found_select := re.fullmatch(r"select (\w+)(?:\s+if (.*))?", line):
            if inside and found_select.group(1) in names:
                pair = (inside, found_select.group(2) or "")
                found.selected_by.setdefault(found_select.group(1), []).append(pair)
        elif current is not None and (found_type := _TYPE.fullmatch(line)):
            _note_type(current, *found_type.groups())


def _note_type(block: Definition, word: str, rest: str) -> None:
    if word != "prompt":
        block.kind = word.removeprefix("def_")
    if found := re.match(r'"(?:[^"\\]|\\.)*"(?:\s+if (.*))?', rest if not word.startswith("def_") else ""):
        block.prompt = True
        if found.group(1):
            block.visible.append(found.group(1))


def explain(name: str, wanted: str, config: Mapping[str, str], definitions: Definitions) -> str:
    """One clause that says why ``name`` is not ``wanted`` in ``config``."""
    got = config.get(name, "n")
    blocks = definitions.blocks.get(name)
    if not blocks:
        return "this kernel has no such option"
    hidden = [_unmet(block.visible, config) for block in blocks if block.prompt]
    if wanted == "n":
        selectors = [who for who, when in definitions.selected_by.get(name, []) if _on(who, when, config)]
        if selectors:
            return f"it is {got}, selected by " + " and ".join(
                f"CONFIG_{who}" for who in sorted(set(selectors))
            )
        if not hidden:
            return f"it is {got} and cannot be set by hand (it has no prompt, see {blocks[0].place})"
        if all(hidden):
            return f"it is {got} and can only be changed with " + " and ".join(hidden[0])
        return f"it is {got} (see {blocks[0].place})"
    culprits = [_unmet(block.depends, config) for block in blocks]
    if all(culprits):
        shortest = min((culprit for culprit in culprits), key=len)
        return "it depends on " + " and ".join(shortest)
    if not any(block.prompt for block in blocks):
        selectors = sorted({who for who, _ in definitions.selected_by.get(name, [])})
        by = f"; it is selected by {', '.join('CONFIG_' + who for who in selectors[:4])}" if selectors else ""
        return f"it is {got} and cannot be set by hand (it has no prompt, see {blocks[0].place}){by}"
    if all(hidden):
        return "it can only be set with " + " and ".join(hidden[0])
    if wanted == "m" and blocks[0].kind == "bool":
        return f"it is {got}: it cannot be a module"
    return f"it is {got} (see {blocks[0].place}: another choice, or a range)"


def _on(who: str, when: str, config: Mapping[str, str]) -> bool:
    return config.get(who, "n") != "n" and (not when or not _unmet([when], config))


def _unmet(conditions: list[str], config: Mapping[str, str]) -> list[str]:
    """What would have to change for all ``conditions`` to hold: ``CONFIG_SWAP=y``, ``CONFIG_X=n``."""
    missing: list[str] = []
    for condition in conditions:
        expression = re.sub(r"\s+#.*", "", condition)
        for clause in _Evaluation(expression, config).missing():
            if clause not in missing:
                missing.append(clause)
    return missing


@dataclass(slots=True)
class _Value:
    """A value between 0 (n) and 2 (y), and what stands in its way, and in the way of its opposite."""

    state: int
    for_true: list[str]
    for_false: list[str]


class _Evaluation:
    """A Kconfig expression against a configuration: recursive descent, ``||`` binds weakest."""

    def __init__(self, expression: str, config: Mapping[str, str]) -> None:
        self._tokens = [found.group(1) for found in _TOKEN.finditer(expression)]
        self._at = 0
        self._config = config

    def missing(self) -> list[str]:
        """Empty when the expression holds (y or m)."""
        if not self._tokens:
            return []
        value = self._or()
        return [] if value.state else value.for_true

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1] if self._at <= len(self._tokens) else ""

    def _or(self) -> _Value:
        left = self._and()
        while self._peek() == "||":
            self._take()
            right = self._and()
            either = [f"{' and '.join(left.for_true)} or {' and '.join(right.for_true)}"]
            left = _Value(max(left.state, right.state), either, left.for_false + right.for_false)
        return left

    def _and(self) -> _Value:
        left = self._not()
        while self._peek() == "&&":
            self._take()
            right = self._not()
            need = [*([] if left.state else left.for_true), *([] if right.state else right.for_true)]
            left = _Value(min(left.state, right.state), need, left.for_false or right.for_false)
        return left

    def _not(self) -> _Value:
        if self._peek() == "!":
            self._take()
            inner = self._not()
            return _Value(2 - inner.state, inner.for_false, inner.for_true)
        return self._comparison()

    def _comparison(self) -> _Value:
        if self._peek() == "(":
            self._take()
            inner = self._or()
            self._take()
            return inner
        name = self._take()
        if self._peek() in ("=", "!=", "<", ">", "<=", ">="):
            operator, other = self._take(), self._take()
            holds = self._compare(self._text(name), operator, self._text(other))
            clause = f"CONFIG_{name} {operator} {other}"
            return _Value(2 if holds else 0, [clause], [f"not ({clause})"])
        if name.startswith("$"):
            # What the tree asks the tools cannot be asked again here; conf had its reasons.
            return _Value(2, [name], [name])
        state = _TRISTATE.get(name, _TRISTATE.get(self._config.get(name, "n"), 2))
        return _Value(
            state, [f"CONFIG_{name}=y, which is {self._config.get(name, 'n')}"], [f"CONFIG_{name}=n"]
        )

    def _text(self, word: str) -> str:
        if word in _TRISTATE or word.startswith('"') or word[:1].isdigit():
            return word.strip('"')
        return self._config.get(word, "n").strip('"')

    @staticmethod
    def _compare(left: str, operator: str, right: str) -> bool:
        if operator in ("=", "!="):
            return (left == right) == (operator == "=")
        try:
            a, b = int(left, 0), int(right, 0)
        except ValueError:
            return False
        return {"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[operator]
