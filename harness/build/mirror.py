# SPDX-License-Identifier: GPL-2.0-only
"""Debian's archive, by way of the apt of this machine.

No mirror is written down: the one that apt is set up with serves, or what HARNESS_MIRROR names. apt
does the downloads, in directories of our own: signatures, hashes, proxies and the resumption of a
broken download are its business, and it does them well.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from harness import settings
from harness.build import command
from harness.build.command import CommandFailed
from harness.build.store import write_atomically
from harness.deadline import Deadline
from harness.errors import InfrastructureError, UserError

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_RELEASE: Final = re.compile(
    r"(buster|bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable)(-backports|-updates)?"
)
_SETTINGS: Final = re.compile(r"Acquire::(https?|ForceIPv[46]|Retries|Check-Valid-Until|Check-Date)\b")
_NO_MIRROR: Final = "set HARNESS_MIRROR to the URL of a Debian mirror: the part before /dists"


def find() -> str:
    """The URL of a Debian mirror. Raises :class:`InfrastructureError` when none is known."""
    chosen = settings.mirror()
    if chosen is not None:
        if not re.fullmatch(r"(https?|file|copy)://?\S+", chosen):
            raise UserError(
                f"HARNESS_MIRROR is {chosen!r}", "give a URL that begins with http://, https:// or file:/"
            )
        return chosen.rstrip("/")
    # Both kinds of configuration file look the same to indextargets.
    text = _ask(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Identifier: Packages"]
    )
    if (mirror := choose(text)) is None:
        raise InfrastructureError("apt on this machine knows no Debian mirror", _NO_MIRROR)
    return mirror


def choose(index_targets: str) -> str | None:
    """The first Debian mirror in lines of ``URL|release|component``."""
    for line in index_targets.splitlines():
        url, _, rest = line.partition("|")
        release, _, component = rest.partition("|")
        if component == "main" and _RELEASE.fullmatch(release) and re.match(r"(https?|file|copy):", url):
            return url.rstrip("/")
    return None


def acquire_settings() -> str:
    """How this machine's apt reaches the network (proxies above all), as lines of an apt.conf."""
    lines = _ask(["apt-config", "dump", "Acquire"]).splitlines()
    return "".join(line + "\n" for line in lines if _SETTINGS.match(line))


def source_line(mirror: str, suite: str, arch: str | None = None) -> str:
    """A line for apt's sources, checked against Debian's own keys."""
    options = f"signed-by={KEYRING}" + (f" arch={arch}" if arch else "")
    return f"deb [{options}] {mirror} {suite} main"


def explain(error: CommandFailed, mirror: str) -> InfrastructureError:
    """What apt's failure means, for a person."""
    text = error.output
    if "NO_PUBKEY" in text or "is not signed" in text:
        return InfrastructureError(
            f"the archive at {mirror} is signed with a key that this machine does not have",
            "install a newer debian-archive-keyring (apt-get install debian-archive-keyring)",
        )
    if re.search(
        r"Could not (resolve|connect)|Temporary failure|Connection (failed|refused|timed out)", text
    ):
        return InfrastructureError(
            f"the Debian mirror {mirror} cannot be reached",
            "check the network and apt's proxy, or set HARNESS_MIRROR",
        )
    if re.search(r"does not have a Release file|404 +Not Found", text):
        return InfrastructureError(
            f"{mirror} does not serve what is asked of it: {_reason(text)}", _NO_MIRROR
        )
    return error


def _reason(text: str) -> str:
    found = re.search(r"^[EW]: (.*)$", text, re.MULTILINE)
    return found.group(1) if found else "no reason given"


def _ask(argv: list[str]) -> str:
    """The output of a short question to apt. Raises :class:`InfrastructureError` where there is no apt."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    except FileNotFoundError:
        raise InfrastructureError(
            "this machine has no apt",
            "the harness needs Debian or Ubuntu, or HARNESS_ROOT and --tree of your own",
        ) from None
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise InfrastructureError(f"{' '.join(argv[:2])} failed: {error}") from None


class Archive:
    """One suite of the archive for one architecture, with apt's state in ``directory``."""

    def __init__(self, directory: Path, suite: str, arch: str) -> None:
        self.suite = suite
        self.mirror = find()
        self._directory = directory
        self._config = directory / "apt.conf"
        for name in ("lists/partial", "archives/partial", "none"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        (directory / "status").touch()
        write_atomically(directory / "sources.list", source_line(self.mirror, suite, arch) + "\n")
        write_atomically(self._config, acquire_settings() + self._own_settings(arch))

    def _own_settings(self, arch: str) -> str:
        here = self._directory
        pairs = {
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": here / "none",
            "Dir::Etc::sourcelist": here / "sources.list",
            "Dir::Etc::sourceparts": here / "none",
            "Dir::State": here,
            "Dir::State::lists": here / "lists",
            "Dir::State::status": here / "status",
            "Dir::Cache": here,
            "Dir::Cache::archives": here / "archives",
            "APT::Architecture": arch,
            "Acquire::Languages": "none",
            # Our directories may lie below a home that apt's own user cannot enter.
            "APT::Sandbox::User": "root",
        }
        return (
            "".join(f'{name} "{value}";\n' for name, value in pairs.items())
            + f'APT::Architectures {{ "{arch}"; }};\n'
        )

    def update(self, deadline: Deadline) -> None:
        """Fetch the suite's index, or what of it has changed."""
        self._apt(["apt-get", "update", "-q"], deadline)

    def versions(self, package: str, deadline: Deadline) -> list[str]:
        """The versions of ``package`` that the archive has, the newest first."""
        text = self._apt(["apt-cache", "madison", package], deadline)
        return [line.split("|")[1].strip() for line in text.splitlines() if line.count("|") >= 2]

    def download(
        self,
        package: str,
        version: str | None,
        deadline: Deadline,
        on_percent: Callable[[float], None] | None = None,
    ) -> Path:
        """The package's file, fetched or found. A download that was cut short goes on where it stopped."""

        def line(text: str) -> None:
            if on_percent is not None and text.startswith("dlstatus:"):
                on_percent(float(text.split(":")[2]))

        wanted = package if version is None else f"{package}={version}"
        folder = self._directory / "archives"
        argv = ["apt-get", "download", "-q", "-o", "APT::Status-Fd=1", wanted]
        self._apt(argv, deadline, cwd=folder, on_line=line)
        found = sorted(folder.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise InfrastructureError(f"apt left no file for {wanted}")
        return found[-1]

    def _apt(
        self,
        argv: list[str],
        deadline: Deadline,
        *,
        cwd: Path | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> str:
        environment = {
            "APT_CONFIG": str(self._config),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C",
        }
        try:
            return command.run(
                argv, deadline=deadline, name=" ".join(argv[:2]), cwd=cwd, env=environment, on_line=on_line
            )
        except CommandFailed as error:
            raise explain(error, self.mirror) from None
