# SPDX-License-Identifier: GPL-2.0-only
"""What the host must have: three packages, and namespaces to enter the build root with.

As root, missing packages are installed without asking; for anybody else there is one command to run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from harness.build import command, mirror
from harness.build.command import CommandFailed
from harness.deadline import Deadline
from harness.errors import InfrastructureError

_INSTALL_SECONDS: Final = 600
_APPARMOR: Final = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
_CLONE: Final = Path("/proc/sys/kernel/unprivileged_userns_clone")
_MAXIMUM: Final = Path("/proc/sys/user/max_user_namespaces")


def is_root() -> bool:
    return os.geteuid() == 0


def find_program(name: str) -> str | None:
    """A program's path; the places for system programs are searched too."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin")


def missing_packages(*, to_build_root: bool) -> list[str]:
    """The Debian packages that this host lacks: to enter a root, or also to make one."""
    missing = [] if find_program("bwrap") else ["bubblewrap"]
    if to_build_root:
        missing += [] if find_program("mmdebstrap") else ["mmdebstrap"]
        missing += [] if mirror.KEYRING.exists() else ["debian-archive-keyring"]
        # An ordinary user makes a root with a range of user ids of his own.
        missing += [] if is_root() or find_program("newuidmap") else ["uidmap"]
    return missing


def require(packages: Iterable[str]) -> None:
    """Install ``packages``, or say how. Raises :class:`InfrastructureError`."""
    names = list(packages)
    if not names:
        return
    one_command = f"apt-get install --no-install-recommends -y {' '.join(names)}"
    if not is_root():
        raise InfrastructureError(f"this machine lacks {' and '.join(names)}", f"run: sudo {one_command}")
    if find_program("apt-get") is None:
        raise InfrastructureError(
            f"this machine lacks {' and '.join(names)}, and has no apt to install them with",
            "install them by hand; the harness is made for Debian and Ubuntu",
        )
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    deadline = Deadline.after(_INSTALL_SECONDS, f"installing {' '.join(names)}")
    try:
        command.run(["apt-get", "update", "-q"], deadline=deadline, env=environment)
        command.run(one_command.split(), deadline=deadline, env=environment)
    except CommandFailed as error:
        raise InfrastructureError(
            f"cannot install {' '.join(names)}: {error.what}", f"try: {one_command}"
        ) from None


def namespace_trouble() -> tuple[str, str] | None:
    """Why bubblewrap cannot work here, and what to do; None when it was seen to work."""
    bwrap = find_program("bwrap")
    if bwrap is None:
        return "bubblewrap is not installed", "apt-get install bubblewrap"
    probe = [bwrap, "--unshare-pid", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"]
    try:
        result = subprocess.run(probe, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run: {error}", ""
    if result.returncode == 0:
        return None
    reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"this machine does not let us make namespaces ({reason})", _namespace_remedy()


def _namespace_remedy() -> str:
    if _APPARMOR.exists() and _APPARMOR.read_text().strip() == "1":
        return "run: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    if _CLONE.exists() and _CLONE.read_text().strip() == "0":
        return "run: sudo sysctl -w kernel.unprivileged_userns_clone=1"
    if _MAXIMUM.exists() and _MAXIMUM.read_text().strip() == "0":
        return "run: sudo sysctl -w user.max_user_namespaces=10000"
    return (
        "in a container, give it the right to make namespaces (SYS_ADMIN, or --privileged); else run as root"
    )


@cache
def require_namespaces() -> None:
    """Raise :class:`InfrastructureError` when bubblewrap cannot make a namespace here."""
    if (trouble := namespace_trouble()) is not None:
        raise InfrastructureError(*trouble)
