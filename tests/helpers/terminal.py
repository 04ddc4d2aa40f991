"""Standard error as a terminal that a test reads."""

import contextlib
import os
import re
import threading

import pytest

from keras_wrn.system import console


@contextlib.contextmanager
def terminal(monkeypatch, kind="xterm", short=-1.0):
    """Make standard error a terminal of 80 columns.

    Args:
        monkeypatch: of the test.
        kind: TERM.
        short: seconds of work that no bar is shown for.

    Yields:
        A function that returns what was shown, without its colours, once the terminal is closed.
    """
    pty = pytest.importorskip("pty", reason="Windows has no such terminals")
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(console, "_SHORT", short)
    (ours, theirs), shown = pty.openpty(), []

    def read():
        with contextlib.suppress(OSError):  # the other end is closed
            while True:
                shown.append(os.read(ours, 4096))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        with open(theirs, "w", encoding="utf-8") as stream, contextlib.redirect_stderr(stream):
            yield lambda: re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(shown).decode())
    finally:
        thread.join(10)
        os.close(ours)
