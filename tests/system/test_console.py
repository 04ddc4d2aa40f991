"""The progress bar: on a terminal only, and on standard error only."""

import contextlib
import os
import re
import threading

import pytest

from keras_wrn.system import console
from keras_wrn.system.console import progress

pty = pytest.importorskip("pty", reason="Windows has no such terminals")


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard error a terminal of 80 columns, and ends it; returns what it has shown."""
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(console, "_SHORT", -1.0)
    shown = []

    def read(end):
        with contextlib.suppress(OSError):  # the other end is closed
            while True:
                shown.append(os.read(end, 4096))

    @contextlib.contextmanager
    def opened():
        ours, theirs = pty.openpty()
        thread = threading.Thread(target=read, args=(ours,), daemon=True)
        thread.start()
        try:
            # Not before the test is called: pytest replaces it then.
            with open(theirs, "w", encoding="utf-8") as stream, contextlib.redirect_stderr(stream):
                yield
        finally:
            thread.join(10)
            os.close(ours)

    def text():
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(shown).decode())

    return opened, text


def test_a_person_sees_how_much_is_left(terminal, capsys):
    opened, shown = terminal
    with opened(), progress("Evaluating", 40) as advance:
        for _ in range(40):
            advance(1)
    assert re.search(r"Evaluating .*40/40 0:00:00", shown()), repr(shown())
    assert capsys.readouterr().out == ""


def test_bytes_are_shown_as_megabytes(terminal):
    opened, shown = terminal
    with opened(), progress("Downloading", 4_000_000, done=1_000_000, unit="bytes") as advance:
        advance(2_000_000)
    assert "3.0/4.0 MB" in shown()


def test_one_bar_at_a_time(terminal):
    opened, shown = terminal
    with opened():
        with progress("Outer", 2) as outer:
            outer(1)
            with progress("Inner", 2) as inner:
                inner(2)
            outer(1)
        with progress("Later", 1) as later:
            later(1)
    assert "Outer" in shown() and "Later" in shown()
    assert "Inner" not in shown()


def test_short_work_shows_none(terminal, monkeypatch):
    monkeypatch.setattr(console, "_SHORT", 1.0)
    opened, shown = terminal
    with opened(), progress("Evaluating", 4) as advance:
        advance(4)
    assert shown() == ""


def test_a_dumb_terminal_shows_none(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    opened, shown = terminal
    with opened(), progress("Evaluating", 4) as advance:
        advance(4)
    assert shown() == ""


def test_a_mistake_leaves_the_terminal_as_it_was(terminal):
    opened, shown = terminal
    with opened():
        with pytest.raises(ZeroDivisionError), progress("Evaluating", 4) as advance:
            advance(1)
            raise ZeroDivisionError
        with progress("Again", 1) as advance:
            advance(1)
    assert "Again" in shown()


def test_where_nobody_watches_nothing_is_written(capsys, monkeypatch):
    monkeypatch.setattr(console, "_SHORT", -1.0)
    with progress("Evaluating", 4) as advance:
        advance(4)
    assert capsys.readouterr() == ("", "")
