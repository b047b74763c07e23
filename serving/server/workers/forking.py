"""A child process that lives its own life and never returns into its parent's callers."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence


def fork(
    life: Callable[[socket.socket], None], handled: Sequence[signal.Signals]
) -> tuple[int, socket.socket]:
    """A child that does `life(its end of a socket pair)` and exits; 0 where that returns.

    Args:
        life: what the child does.
        handled: signals that this process has handlers for. The child ignores SIGTERM and SIGINT:
            its parent says when to stop, and a Ctrl-C reaches all processes of a terminal.

    Returns:
        The child's process id, and this process's end.
    """
    mine, theirs = socket.socketpair()
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal between the fork and the child's own handlers would be taken for this process's.
    signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    try:
        with warnings.catch_warnings():  # Python counts the threads of numpy's libraries
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            mine.close()
            _live(life, theirs, handled)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
    theirs.close()
    return pid, mine


def _live(
    life: Callable[[socket.socket], None], end: socket.socket, handled: Sequence[signal.Signals]
) -> None:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in handled:
            stops = number in (signal.SIGTERM, signal.SIGINT)
            signal.signal(number, signal.SIG_IGN if stops else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handled)
        life(end)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
