"""Memory in pages of 2 MB, for training on a CPU under Linux.

A step reads and writes hundreds of megabytes of activations. In pages of 4 kB, a core spends part
of its time on looking up their addresses. glibc's malloc reads GLIBC_TUNABLES when a program
starts, so a program that wants large pages starts again. `docs/performance.md` has the gain.
"""

import contextlib
import os
import platform
import sys
from pathlib import Path

TUNABLES = "GLIBC_TUNABLES"
# Large pages, and 64 MB of spare room in every heap, so that no step frees and requests pages.
SETTING = "glibc.malloc.hugetlb=1:glibc.malloc.top_pad=67108864"
# The kernel's mode in brackets: "always", "madvise" (on request, malloc's too) or "never".
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_FIRST_GLIBC = (2, 35)


def restart_with_huge_pages() -> None:
    """Start the running script again, in the same process, with large pages.

    Does nothing if the kernel or the C library has no large pages on request, if the user has set
    GLIBC_TUNABLES (an empty value turns this off), or if the program is not a script. Call it
    first, because the script begins anew.
    """
    if TUNABLES in os.environ or not (_on_request() and _is_script()):
        return
    os.environ[TUNABLES] = SETTING
    sys.stdout.flush()
    sys.stderr.flush()
    # If the interpreter cannot be started again, the program goes on with small pages.
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
    """Whether the interpreter was started with this file."""
    return sys.argv[0] in sys.orig_argv[1:] and Path(sys.argv[0]).is_file()
