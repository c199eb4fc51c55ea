"""Ctrl-C also while a command waits for a pipe."""

import signal


def interruptible() -> None:
    """Take the interrupt signal back from Polars; to be called once Polars is imported.

    On import Polars installs a handler of its own, under which a read that is waiting is begun
    again by the system, and Python learns of the interrupt only when data come: never, on a silent
    pipe. Python's handler ends the read. An interrupt during a query waits for the query instead.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
