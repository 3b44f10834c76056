# SPDX-License-Identifier: GPL-2.0-only
"""QMP, the protocol to QEMU itself: a synchronous front to the ``qemu.qmp`` library.

The library's coroutines run in the keeper's loop, so events are taken in while the caller is busy
with the guest.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import socket
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from qemu.qmp import ExecuteError, QMPClient, QMPError, Runstate

from harness.boot.keeper import Keeper
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, GuestLost, InfrastructureError

Command = tuple[str, Mapping[str, object]]

# The end of a connection is how a machine's end is seen: nothing to warn about.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)

_ANSWER_SECONDS: Final = 10.0


class QmpRefused(InfrastructureError):
    """QEMU understood a command and refused it."""


class Qmp:
    """The connection to one QEMU. Commands in ``first`` are sent as soon as QEMU answers, in one go."""

    def __init__(self, keeper: Keeper, line: socket.socket, first: Sequence[Command] = ()) -> None:
        self._keeper = keeper
        self._client = QMPClient("machine")
        self._changed = threading.Condition()
        self._events: list[Mapping[str, Any]] = []
        self._closed = False
        self.shutdown_reason = ""
        """Why the guest ended, as QEMU says it (qapi/run-state.json, ShutdownCause); empty until then."""
        self.ready = keeper.submit(self._open(line, first))
        """Done when ``first`` is answered; holds what went wrong otherwise."""

    @property
    def closed(self) -> bool:
        """Whether QEMU has closed the connection, which it does by ending."""
        return self._closed

    def execute(
        self, command: str, arguments: Mapping[str, object] | None = None, *, deadline: Deadline | None = None
    ) -> Any:
        """What QEMU answers to ``command``.

        Raises :class:`QmpRefused`, :class:`DeadlineExpired`, or :class:`GuestLost` when QEMU is gone.
        """
        limit = deadline or Deadline.after(_ANSWER_SECONDS, f"QEMU answers {command}")
        try:
            self.ready.result(limit.remaining)
            return self._keeper.submit(self._client.execute(command, dict(arguments or {}))).result(
                limit.remaining
            )
        except concurrent.futures.TimeoutError:
            raise DeadlineExpired(f"QEMU did not answer in time: {limit.what}") from None
        except ExecuteError as error:
            raise QmpRefused(f"QEMU refused {command}: {error}") from None
        except (QMPError, asyncio.CancelledError, OSError, EOFError) as error:
            raise GuestLost(f"QEMU is gone: {command} was not answered ({error})") from None

    def monitor(self, line: str, *, deadline: Deadline | None = None) -> str:
        """What the human monitor answers to ``line``; for evidence, not for decisions."""
        return str(self.execute("human-monitor-command", {"command-line": line}, deadline=deadline))

    @property
    def version(self) -> str:
        """QEMU's version, as it introduced itself."""
        if self._client.greeting is None:
            return ""
        about: Any = self._client.greeting.QMP.version
        return "{major}.{minor}.{micro}".format(**about["qemu"]) + f" {about['package']}"

    def wait_for(self, name: str, field: str, values: Collection[str], deadline: Deadline) -> str:
        """The value of ``field`` in the first event ``name`` where it is one of ``values``, past ones too.

        Raises :class:`DeadlineExpired`, or :class:`GuestLost` when QEMU ends without such an event.
        """

        def find() -> str:
            for event in self._events:
                if event["event"] == name and (value := event["data"][field]) in values:
                    return str(value)
            return ""

        with self._changed:
            self._changed.wait_for(lambda: self._closed or find(), deadline.remaining)
            if found := find():
                return found
            if self._closed:
                raise GuestLost(f"QEMU is gone: {deadline.what}")
        raise DeadlineExpired(f"time is up: {deadline.what}")

    def wait_closed(self, seconds: float) -> bool:
        """Wait until QEMU has closed the connection; whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, seconds)

    async def _open(self, line: socket.socket, first: Sequence[Command]) -> None:
        try:
            await self._client.connect(line)
            self._pump = asyncio.create_task(self._take_events())
            await asyncio.gather(*(self._client.execute(name, dict(given)) for name, given in first))
        except ExecuteError:
            raise
        except BaseException:
            line.close()
            self._close()
            raise

    async def _take_events(self) -> None:
        """Keep the events until the connection ends."""
        ended = asyncio.create_task(self._client.runstate_changed())
        await asyncio.sleep(0)  # lets it begin to wait; it sees no change that was before
        try:
            while self._client.runstate is Runstate.RUNNING:
                event = asyncio.create_task(self._client.events.get())
                await asyncio.wait((event, ended), return_when=asyncio.FIRST_COMPLETED)
                if event.done():
                    self._note(event.result())
                else:
                    event.cancel()
            for left in self._client.events.clear():
                self._note(left)
        finally:
            with contextlib.suppress(Exception):
                await self._client.disconnect()
            self._close()

    def _note(self, event: Mapping[str, Any]) -> None:
        with self._changed:
            self._events.append(event)
            if event["event"] == "SHUTDOWN":
                self.shutdown_reason = str(event["data"]["reason"])
            self._changed.notify_all()

    def _close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
