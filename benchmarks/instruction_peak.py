"""The most that the cores can compute: a loop of nothing but their widest multiply-adds.

Compiles 50 lines of C with the machine's own compiler and runs them in one thread for each core:
fused multiply-adds of float32 vectors, and for bfloat16 AMX tiles or AVX-512's dot products,
whichever the CPU has. Not a program: the benchmarks beside it use it.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = r"""
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
typedef float vec __attribute__((vector_size(BYTES)));
#define CHAINS 10  /* independent sums, to hide the latency of one */

double float32_flop(long rounds, float *out) {
  vec sum[CHAINS], a = {0}, b = {0};
  a += 0.999f; b += 0.001f;
  for (int i = 0; i < CHAINS; i++) sum[i] = b * (float)i;
  for (long n = 0; n < rounds; n++)
#pragma GCC unroll 10
    for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * a + b;
  for (int i = 0; i < CHAINS; i++) *out += sum[i][0];
  return 2.0 * rounds * CHAINS * (BYTES / 4);
}

#if defined(__AMX_BF16__) && defined(__linux__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
double bfloat16_flop(long rounds, float *out) {
  if (syscall(SYS_arch_prctl, 0x1023, 18)) return 0;  /* ask for tile data */
  struct { unsigned char palette, start, reserved[14]; unsigned short columns[16];
           unsigned char rows[16]; } shape = {1};
  static _Thread_local char memory[1024];
  for (int i = 0; i < 8; i++) { shape.columns[i] = 64; shape.rows[i] = 16; }
  _tile_loadconfig(&shape);
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
  _tile_loadd(4, memory, 64); _tile_loadd(5, memory, 64);
  _tile_loadd(6, memory, 64); _tile_loadd(7, memory, 64);
  for (long n = 0; n < rounds; n++) {
    _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, memory, 64); *out += memory[0];
  _tile_release();
  return rounds * 4.0 * 2 * 16 * 16 * 32;
}
#elif defined(__AVX512BF16__)
#include <immintrin.h>
double bfloat16_flop(long rounds, float *out) {
  __m512 sum[CHAINS]; __m512bh a = {0}, b = {0};
  for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_set1_ps(i);
  for (long n = 0; n < rounds; n++)
#pragma GCC unroll 10
    for (int i = 0; i < CHAINS; i++) sum[i] = _mm512_dpbf16_ps(sum[i], a, b);
  for (int i = 0; i < CHAINS; i++) *out += _mm512_cvtss_f32(sum[i]);
  return 2.0 * rounds * CHAINS * 32;
}
#else
double bfloat16_flop(long rounds, float *out) { return 0; }
#endif
"""
PEAK = "multiply-adds alone"  # what the benchmarks call it
FLOP_OF_A_RUN = 2e11  # of one thread: seconds in float32, tenths of one on AMX


class Unavailable(Exception):  # noqa: N818 - nothing is wrong
    """The peak cannot be measured here; says why."""


def peak_run(bfloat16: bool, threads: int = 0) -> tuple[Callable[[], object], float]:
    """A function that computes for a while in so many threads, and how many FLOP that is.

    Threads are as many as cores where none is said.

    Raises:
        Unavailable: there is no C compiler, or no bfloat16 instruction.
    """
    function = _compiled("bfloat16_flop" if bfloat16 else "float32_flop")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = threads or cores

    def call(rounds: int) -> float:
        return function(rounds, ctypes.byref(ctypes.c_float()))

    flop_of_a_round = call(1)
    if not flop_of_a_round:
        raise Unavailable("the CPU has no bfloat16 instruction that this program knows")
    rounds = int(FLOP_OF_A_RUN / flop_of_a_round)
    pool = ThreadPoolExecutor(threads)
    # A foreign function lets go of the interpreter, so that the threads run side by side.
    return lambda: list(pool.map(call, [rounds] * threads)), rounds * flop_of_a_round * threads


def _compiled(name: str) -> Callable[..., float]:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Unavailable("there is no C compiler")
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "peak.c"), Path(folder, "peak.so")
        source.write_text(SOURCE, encoding="utf-8")
        options = ["-O2", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
        done = subprocess.run(
            [compiler, *options, str(source), "-o", str(library)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"{compiler} says: {done.stderr.strip().splitlines()[0]}")
        function = getattr(ctypes.CDLL(str(library)), name)
    function.restype = ctypes.c_double
    function.argtypes = (ctypes.c_long, ctypes.POINTER(ctypes.c_float))
    return function
