"""Signals that end a process in order: files are put right, the MLflow run is told, the lock is released.

Knows signals, nothing of runs.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_received: list[signal.Signals] = []


@dataclass
class _Postponing:
    depth: int = 0
    is_waiting: bool = False


_postponing = _Postponing()


class TerminatedError(SystemExit):
    """SIGTERM or SIGHUP, raised like Ctrl-C's KeyboardInterrupt; the process ends with 128 + the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


def raise_on_termination() -> None:
    """Let SIGTERM and SIGHUP (a closed terminal) raise `TerminatedError` in the main thread.

    Where somebody else handles or ignores one (nohup), and on other threads, nothing is changed.
    """
    _raise_where({signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL})


def raise_once_on_interrupt() -> None:
    """Let the first Ctrl-C raise KeyboardInterrupt, and a second one end the process at once."""
    _raise_where({signal.SIGINT: signal.default_int_handler})


def received() -> signal.Signals | None:
    """The signal that this process was asked to end by, if any."""
    return _received[0] if _received else None


def raise_if_received() -> None:
    """Raise again what a library swallowed or made an error of its own of, as pydantic does.

    Raises:
        KeyboardInterrupt: After Ctrl-C.
        TerminatedError: After another signal.
    """
    if (number := received()) is not None:
        raise KeyboardInterrupt if number == signal.SIGINT else TerminatedError(number)


@contextmanager
def postponed() -> Iterator[None]:
    """Let a signal that comes meanwhile raise at the end of this block; a second one ends the process at once.

    On other threads nothing is changed: signals raise in the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _postponing.depth += 1
    try:
        yield
    finally:
        _postponing.depth -= 1
        if _postponing.is_waiting and not _postponing.depth:
            _postponing.is_waiting = False
            raise_if_received()


def end_at_once_on_signals() -> None:
    """Give the signals back to the operating system, less those that are ignored."""
    for number in _ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _raise_where(present: dict[signal.Signals, object]) -> None:
    """Handle each signal whose handler is the one given."""
    pid = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        end_at_once_on_signals()  # a second one does not wait
        # MLflow's database tells, with a traceback, whatever it is interrupted in: its connection is thrown away then,
        # or SQLite takes the interruption for a fault of its own.
        for name in ("sqlalchemy.pool", "mlflow.store.db.utils"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if os.getpid() != pid:  # a forked worker
            os.kill(os.getpid(), number)
        _received.append(signal.Signals(number))
        if _postponing.depth:
            _postponing.is_waiting = True
        else:
            raise_if_received()

    for number, handler in present.items():
        if signal.getsignal(number) is handler:
            try:
                signal.signal(number, handle)
            except ValueError:  # not on the main thread
                return
