"""End a command on SIGINT, SIGTERM or SIGHUP, release its leases, and exit by the signal's code.

Python runs a signal handler only after native code returns, and a query may run for hours. So the
signal also wakes a thread. If the command has not ended after a grace period, the thread releases
the leases and ends the process.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from eventlake.cleanup import clean_up

_GRACE_SECONDS = 3.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal ended the command."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The code a shell reports: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.number

    def __str__(self) -> str:
        """The message for the user."""
        return f"stopped by {signal.Signals(self.number).name}; nothing was half-written"


@contextmanager
def stoppable(message: Callable[[Stopped], str]) -> Iterator[None]:
    """Raise ``Stopped`` in the block when a signal arrives.

    Outside the main thread, where Python delivers no signals, this does nothing. A signal that the
    parent process ignores, such as SIGINT under nohup, stays ignored.

    Args:
        message: Makes the text for stderr if the thread has to end the process.
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
    # Required by ``set_wakeup_fd``.
    os.set_blocking(writer, False)
    finished = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(reader, finished, message), name="eventlake-signals", daemon=True
    )
    watcher.start()
    # The interpreter writes the signal's number even while native code runs.
    earlier_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number, handler in handlers.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    except (Exception, Stopped):
        # An interrupted library may replace our exception with one of its own.
        if received:
            raise Stopped(received[0]) from None
        raise
    finally:
        finished.set()
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(earlier_fd)
        # The watcher reads the end of the pipe and returns.
        os.close(writer)
        watcher.join()
        os.close(reader)


def _watch(reader: int, finished: threading.Event, message: Callable[[Stopped], str]) -> None:
    while (signals := os.read(reader, 1)) and signals[0] not in _SIGNALS:
        pass  # a signal that has another handler
    if signals and not finished.wait(_GRACE_SECONDS):
        clean_up()
        stopped = Stopped(signals[0])
        # Not ``sys.stderr``, whose lock the interrupted thread may hold.
        os.write(2, message(stopped).encode())
        os._exit(stopped.exit_code)
