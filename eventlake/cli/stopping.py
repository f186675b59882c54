"""SIGINT, SIGTERM and SIGHUP end a command: what it holds is given up, and its exit code says which signal it was.

Python runs a handler only once native code returns, and a query may not return for hours. So a
thread is woken by the signal itself; if the command has not ended after a while, it gives up the
claims in its place and ends the process.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from eventlake.datasets.building.build_once import give_up_claims
from eventlake.storage.scratch import remove_scratch

_GRACE_SECONDS = 3.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal ended the command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """As a shell reports it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.number

    def __str__(self) -> str:
        """What to say."""
        return f"stopped by {signal.Signals(self.number).name}; nothing was half-written"


@contextmanager
def stoppable(said: Callable[[Stopped], str]) -> Iterator[None]:
    """Ends the block with ``Stopped`` when a signal arrives; in another thread than the main one, which gets no signals, nothing.

    A signal that the caller of the process ignores, such as SIGINT under nohup, stays ignored.

    Args:
        said: What to write to stderr where the process must be ended from here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise Stopped(number)

    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    over = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(reader, over, said), name="eventlake-signals", daemon=True
    )
    watcher.start()
    woken = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number, handler in handlers.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    except (Exception, Stopped):
        # A library that was interrupted may put an error of its own in the place of ours.
        if received:
            raise Stopped(received[0]) from None
        raise
    finally:
        over.set()
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(woken)
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int, over: threading.Event, said: Callable[[Stopped], str]) -> None:
    while (woken := os.read(reader, 1)) and woken[0] not in _SIGNALS:
        pass  # a signal that is handled elsewhere
    if woken and not over.wait(_GRACE_SECONDS):
        give_up_claims()
        remove_scratch()
        stopped = Stopped(woken[0])
        os.write(2, said(stopped).encode())
        os._exit(stopped.exit_code)
