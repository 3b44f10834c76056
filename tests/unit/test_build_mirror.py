# SPDX-License-Identifier: GPL-2.0-only
"""Finding the Debian mirror of this machine's apt."""

from __future__ import annotations

import pytest

from harness.build import mirror
from harness.build.command import CommandFailed
from harness.errors import UserError

DEBIAN = """\
https://packages.example.org/tool|nodistro|main
http://mirror.example.org/debian-security/|bookworm-security|main
http://mirror.example.org/debian/|bookworm|contrib
http://mirror.example.org/debian/|bookworm|main
"""
UBUNTU = """\
http://archive.example.org/ubuntu/|noble|main
http://archive.example.org/ubuntu/|noble-updates|main
http://archive.example.org/ubuntu/|noble|universe
"""


def test_the_main_archive_is_chosen() -> None:
    assert mirror.choose(DEBIAN) == "http://mirror.example.org/debian"


def test_ubuntu_has_none() -> None:
    assert mirror.choose(UBUNTU) is None
    assert mirror.choose("") is None


def test_a_mirror_on_a_disc_cannot_be_used() -> None:
    assert mirror.choose("cdrom://Debian/|trixie|main\n") is None


def test_the_user_may_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_MIRROR", "http://mirror.example.org/debian/")
    assert mirror.find() == "http://mirror.example.org/debian"
    monkeypatch.setenv("HARNESS_MIRROR", "mirror.example.org")
    with pytest.raises(UserError, match="HARNESS_MIRROR"):
        mirror.find()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("E: Could not resolve 'mirror'", "cannot be reached"),
        ("Err: Connection refused", "cannot be reached"),
        ("W: GPG error: NO_PUBKEY 1234", "signed with a key"),
        ("E: The repository 'x' does not have a Release file.", "does not serve"),
        ("something else", "something else"),
    ],
)
def test_apt_is_explained(output: str, says: str) -> None:
    assert says in mirror.explain(CommandFailed("apt-get update", 100, output), "http://mirror").what
