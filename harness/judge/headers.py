# SPDX-License-Identifier: GPL-2.0-only
"""The first lines of reports, as the kernel's format strings print them: all tables in one order.

Patterns are matched at the start of a line without its prefixes, in the order of the table. The source
of each wording stands beside it in the tables; where kernels differ, all layouts since 4.0 are there.
"""

from __future__ import annotations

import re
from typing import Final

from harness.judge.headers_faults import FAULTS, OOPSES
from harness.judge.headers_locks import LOCKS, STALLS
from harness.judge.headers_memory import CORRUPTION, FACTS, LEAKS, PLACES, SANITIZERS, SLAB
from harness.judge.kinds import Header, Kind
from harness.judge.wording import header

HEADERS: Final[tuple[Header, ...]] = (
    *SANITIZERS,
    *FAULTS,
    *STALLS,
    *LOCKS,
    *SLAB,
    *CORRUPTION,
    *PLACES,
    *LEAKS,
    *OOPSES,
    *FACTS,
    # whatever else calls itself a BUG
    header(Kind.BUG, "BUG: ", r"BUG: (?P<what>.+)", "BUG: {what}"),
)

SUPPRESSIONS: Final = re.compile(
    r"BUG: MAX_\w+ too low"  # lockdep ran out of room: it is off, which is not a bug of the kernel
    r"|BUG: Bad page (?:state|map): \d+ messages suppressed"
    r"|BUG: +\d+ unexpected failures"  # lib/locking-selftest.c
    r"|WARNING: Unprivileged eBPF|WARNING: kernel not compiled with"
    r"|(?:rcu: )?INFO: \S+ detected (?:expedited )?stalls?, but suppressed"
    # words of drivers about their firmware, their module parameters and their devices
    r"|BUG: (?:not (?:creating|updating) mapping|map for |skipping previously registered"
    r"|driver \S+ has no probe"
    r"|Address \S+ on device|arch topology borken)"
)
"""Lines that match a header and are none."""
