# SPDX-License-Identifier: GPL-2.0-only
"""From ``function+0x1d/0x40 [module]`` to function, file, line and inlined callers.

:class:`Symbols` knows the files of one kernel; :func:`decode` resolves the frames of a report and
:func:`decode_lines` those of any text of a console. How: :mod:`.text` reads the lines, :mod:`.elf`
the symbols, :mod:`.units` and :mod:`.lines` the debug information; docs/decoding.md says the rest.
"""

from harness.judge.symbols.decode import Annotated, Symbols, decode, decode_lines

__all__ = ["Annotated", "Symbols", "decode", "decode_lines"]
