"""Signals that end what runs in order, as Ctrl-C does: told by a scheduler, or by a terminal that is closed."""

import contextlib
import signal
import threading
from collections.abc import Iterator

# Set when this process is told to end: from then on whatever breaks, half-imported modules first, is no fault of a run.
told_to_end = threading.Event()


def end(*_) -> None:
    """Handle a signal as Python handles Ctrl-C, and remember that it came.

    What is within another library's code when KeyboardInterrupt is raised may well end in an error of its own.
    """
    told_to_end.set()
    raise KeyboardInterrupt


def interrupted_by(*signals: signal.Signals) -> None:
    """Take each of the signals as a Ctrl-C, unless whoever began the process wanted otherwise: `nohup` does."""
    for number in signals:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end)


ENDING = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Within it this thread hears no signal that would end it, nor do processes that it begins, until they `hear`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear() -> None:
    """Let this thread hear again what `held_back` kept from it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def no_longer_in_order() -> None:
    """Let a Ctrl-C or SIGTERM end the process at once: nothing is left to be put in order."""
    for number in ENDING:
        if signal.getsignal(number) in (end, signal.default_int_handler):
            signal.signal(number, signal.SIG_DFL)


def hear_hangup_alone() -> None:
    """Take SIGHUP, which a terminal that is closed sends to all of its processes, as a Ctrl-C of this one alone.

    The processes and threads that are begun from now on do not hear it: this process ends them in order, and a sweep
    needs those that look after its others.
    """
    if signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
        return
    signal.signal(signal.SIGHUP, end)  # on a thread from before, it must not end the process
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    main = threading.main_thread().ident
    assert main is not None

    def wait() -> None:
        signal.sigwait({signal.SIGHUP})
        signal.pthread_kill(main, signal.SIGTERM)  # which also wakes it, if it waits

    threading.Thread(target=wait, name="hangup", daemon=True).start()
