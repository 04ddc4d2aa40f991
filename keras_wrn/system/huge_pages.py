"""Memory in pages of 2 MB, for training on a CPU under Linux.

A step writes and reads hundreds of megabytes of activations, and in pages of 4 kB a core spends a
part of its time looking up their addresses. glibc's malloc asks for large pages if the environment
variable GLIBC_TUNABLES says so when a program starts; a program that wants them starts again.
`docs/performance.md` has what that gains.
"""

import contextlib
import os
import platform
import sys
from pathlib import Path

TUNABLES = "GLIBC_TUNABLES"
# Large pages, and 64 MB of room in every heap, so that none goes and comes back in each step.
SETTING = "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=67108864"
# What the kernel gives: "always", "madvise" (to who asks, as malloc then does) or "never".
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_FIRST_GLIBC = (2, 35)


def restart_with_huge_pages() -> None:
    """Start the running script again in the same process, with large pages; or do nothing.

    Nothing is done where the kernel or the C library has none on request, where the user has set
    GLIBC_TUNABLES (an empty value turns this off), and in a program that was not started as a
    script. Call it first: the script begins anew.
    """
    if TUNABLES in os.environ or not (_on_request() and _is_script()):
        return
    os.environ[TUNABLES] = SETTING
    sys.stdout.flush()
    sys.stderr.flush()
    # An interpreter that cannot be started again goes on with small pages.
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _on_request() -> bool:
    library, version = platform.libc_ver()
    numbers = tuple(int(number) for number in version.split(".") if number.isdigit())
    try:
        return library == "glibc" and numbers >= _FIRST_GLIBC and "[madvise]" in KERNEL.read_text()
    except OSError:
        return False


def _is_script() -> bool:
    """Whether the interpreter was started with this very file, by its own name."""
    return sys.argv[0] in sys.orig_argv[1:] and Path(sys.argv[0]).is_file()
