"""A script starts again with large pages, once, and only where that is possible."""

import os
import subprocess
import sys

import pytest

from keras_wrn.system import huge_pages

SCRIPT = """
import os, sys
from keras_wrn.system.huge_pages import restart_with_huge_pages
print("begun", os.getpid(), flush=True)
restart_with_huge_pages()
print(repr(os.environ.get("GLIBC_TUNABLES")), sys.argv[1:], os.getpid())
"""


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """How the program is started again, on a machine that has large pages on request."""
    kernel, started = tmp_path / "enabled", []
    kernel.write_text("always [madvise] never\n")
    monkeypatch.setattr(huge_pages, "KERNEL", kernel)
    monkeypatch.setattr(huge_pages.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "argv", [__file__, "--depth", "16"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-O", __file__, "--depth", "16"])
    monkeypatch.setattr(os, "execv", lambda *call: started.append(call))
    yield started
    os.environ.pop("GLIBC_TUNABLES", None)


def test_the_same_command_is_started_again(asked):
    huge_pages.restart_with_huge_pages()
    huge_pages.restart_with_huge_pages()
    assert asked == [(sys.executable, [sys.executable, "-O", __file__, "--depth", "16"])]
    assert os.environ["GLIBC_TUNABLES"] == huge_pages.SETTING


@pytest.mark.parametrize("value", ["", "glibc.malloc.arena_max=1"])
def test_what_the_user_has_set_stays(asked, monkeypatch, value):
    monkeypatch.setenv("GLIBC_TUNABLES", value)
    huge_pages.restart_with_huge_pages()
    assert asked == []
    assert os.environ["GLIBC_TUNABLES"] == value


@pytest.mark.parametrize("given", ["[always] madvise never", "always madvise [never]", None])
def test_a_kernel_without_them_on_request_is_left_alone(asked, given):
    if given is None:
        huge_pages.KERNEL.unlink()
    else:
        huge_pages.KERNEL.write_text(given)
    huge_pages.restart_with_huge_pages()
    assert asked == []


@pytest.mark.parametrize("library", [("glibc", "2.34"), ("", ""), ("musl", "2.40")])
def test_another_c_library_is_left_alone(asked, monkeypatch, library):
    monkeypatch.setattr(huge_pages.platform, "libc_ver", lambda: library)
    huge_pages.restart_with_huge_pages()
    assert asked == []


@pytest.mark.parametrize("argv", [["-c"], ["no such file"]])
def test_what_is_no_script_is_left_alone(asked, monkeypatch, argv):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", ["python", *argv])
    huge_pages.restart_with_huge_pages()
    assert asked == []


def test_an_interpreter_that_does_not_start_is_no_error(asked, monkeypatch):
    def fail(*_):
        raise OSError("no such file")

    monkeypatch.setattr(os, "execv", fail)
    huge_pages.restart_with_huge_pages()


@pytest.mark.skipif(not huge_pages._on_request(), reason="no large pages on request here")
def test_a_real_script_goes_on_in_its_own_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
    done = subprocess.run(
        [sys.executable, str(script), "a b", "--c"],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=True,
    )
    first, second, last = done.stdout.splitlines()
    assert first == second, "begun twice, in one process"
    assert last == f"{huge_pages.SETTING!r} ['a b', '--c'] {first.split()[1]}"
    assert done.stderr == ""
