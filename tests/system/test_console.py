"""The progress bar: on a terminal only, and on standard error only."""

import contextlib
import io
import os
import re
import subprocess
import sys

import pytest
from terminal import terminal

from keras_wrn.system import console
from keras_wrn.system.console import progress


def test_a_person_sees_how_much_is_left(monkeypatch, capsys):
    with terminal(monkeypatch) as shown, progress("Evaluating", 40) as advance:
        for _ in range(40):
            advance(1)
    assert re.search(r"Evaluating .*40/40 0:00:00", shown()), repr(shown())
    assert capsys.readouterr().out == ""


def test_bytes_are_shown_as_megabytes(monkeypatch):
    with (
        terminal(monkeypatch) as shown,
        progress("Downloading", 4_000_000, done=1_000_000, unit="bytes") as advance,
    ):
        advance(2_000_000)
    assert "3.0/4.0 MB" in shown()


def test_one_bar_at_a_time(monkeypatch):
    with terminal(monkeypatch) as shown:
        with progress("Outer", 2) as outer:
            outer(1)
            with progress("Inner", 2) as inner:
                inner(2)
            outer(1)
        with progress("Later", 1) as later:
            later(1)
    assert "Outer" in shown() and "Later" in shown()
    assert "Inner" not in shown()


@pytest.mark.parametrize("options", [{"short": 5.0}, {"kind": "dumb"}])
def test_short_work_and_dumb_terminals_have_none(monkeypatch, options):
    with terminal(monkeypatch, **options) as shown, progress("Evaluating", 4) as advance:
        advance(4)
    assert shown() == ""


def test_a_mistake_leaves_the_terminal_as_it_was(monkeypatch):
    with terminal(monkeypatch) as shown:
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


def test_a_bar_is_seen_while_other_output_is_held_back():
    program = (
        "import os\n"
        "from keras_wrn.system import console\n"
        "console._SHORT = -1.0\n"
        "with console.quiet_stderr(), console.progress('Exporting', 2) as advance:\n"
        "    os.write(2, b'thirty lines of C++ logs')\n"
        "    advance(2)\n"
    )
    pty = pytest.importorskip("pty", reason="Windows has no such terminals")
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, stderr=theirs, env=environment, check=False)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(ours, 4096):
            shown += chunk
    os.close(ours)
    assert done.returncode == 0
    assert b"Exporting" in shown and b"C++" not in shown


def test_a_message_does_not_start_keras():
    code = "import sys; from keras_wrn.system import console; console.say('a'); "
    code += "print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "a\nFalse\n"


def test_names_of_any_bytes_are_printed_and_stored(tmp_path):
    code = (
        "import sys; from pathlib import Path; from keras_wrn.cli.program import status_of\n"
        "from keras_wrn.system.files import read_json, write_json\n"
        "name = b'caf\\xe9'.decode('utf-8', 'surrogateescape')\n"
        "file = Path(sys.argv[1]); write_json(file, {name: 1})\n"
        "assert read_json(file) == {name: 1}\n"
        "sys.exit(status_of(lambda: name, 'a'))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.json")]
    done = subprocess.run(
        command, capture_output=True, check=True, env=os.environ | {"PYTHONUTF8": "1"}
    )
    assert done.stdout == b"caf\\udce9\n"


def test_a_program_without_a_console_says_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    console.note("Nobody reads this.")
    console.say("Nor this.")
    with console.quiet_stderr(), console.progress("Working", 2) as advance:
        advance(2)


def test_what_an_encoding_lacks_is_escaped(monkeypatch):
    file = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", newline="")
    monkeypatch.setattr(sys, "stdout", file)
    console.say("C:/Users/Łukasz/run")
    assert file.buffer.getvalue() == b"C:/Users/\\u0141ukasz/run\n"
