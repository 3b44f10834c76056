# SPDX-License-Identifier: GPL-2.0-only
"""One thread per process that outlives every machine: it starts QEMU and runs the asyncio loop.

The kernel's parent-death signal follows the *thread* that started a process, not the process. A
QEMU started by a test's own thread would be killed when that thread ends; started by this one, it
is killed when the harness is, by whatever means, and not before.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Keeper:
    """The thread and its event loop. Its methods are called from any other thread."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="machine-keeper", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T]) -> T:
        """Run a short ``function`` in the keeper's thread and return what it returns."""
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(function())
            except BaseException as error:
                answer.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return answer.result()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start ``coroutine`` in the loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stop(self) -> None:
        """End the thread, and with it every machine that is still there."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=1.0)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        if tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=0.5))


_lock = threading.Lock()
_keeper: Keeper | None = None


def keeper() -> Keeper:
    """This process's keeper, started on first use. A forked child gets one of its own."""
    global _keeper
    with _lock:
        if _keeper is None or _keeper.pid != os.getpid():
            _keeper = Keeper()
        return _keeper


def stop_keeper() -> None:
    """End this process's keeper, if there is one."""
    global _keeper
    with _lock:
        if _keeper is not None and _keeper.pid == os.getpid():
            _keeper.stop()
        _keeper = None
