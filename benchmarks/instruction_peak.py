"""The peak of the cores: a loop of their widest multiply-adds and nothing else.

Compiles 70 lines of C with the machine's compiler and runs them in one thread per core: fused
multiply-adds of float32 vectors; for bfloat16 and 8-bit integers, AMX tiles or AVX-512's dot
products, whichever the CPU has. This file is not a program: the benchmarks import it.
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
#define UNROLLED _Pragma("GCC unroll 24")
/* CHAINS: independent sums, to hide the latency of one: 6 cycles of 2 multiply-adds and more. */
#if defined(__AVX512F__)
#define BYTES 64
#define CHAINS 14  /* of 32 registers, of which compilers may want two for each */
#elif defined(__AVX__)
#define BYTES 32
#define CHAINS 12  /* of 16 */
#else
#define BYTES 16
#define CHAINS 12
#endif
typedef float vec __attribute__((vector_size(BYTES)));

double float32_flop(long rounds, float *out) {
  vec sum[CHAINS], a = {0}, b = {0};
  a += 0.999f; b += 0.001f;
  for (int i = 0; i < CHAINS; i++) sum[i] = b * (float)i;
  for (long n = 0; n < rounds; n++)
    UNROLLED for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * a + b;
  for (int i = 0; i < CHAINS; i++) *out += sum[i][0];
  return 2.0 * rounds * CHAINS * (BYTES / 4);
}

#if defined(__AVX512F__)
#include <immintrin.h>
#endif
#if defined(__AMX_TILE__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define TILES(NAME, PRODUCT, MULTIPLY_ADDS) \
double NAME(long rounds, float *out) { \
  if (syscall(SYS_arch_prctl, 0x1023, 18)) return 0;  /* ask for tile data */ \
  struct { unsigned char palette, start, reserved[14]; unsigned short columns[16]; \
           unsigned char rows[16]; } shape = {1}; \
  static _Thread_local char memory[1024]; \
  for (int i = 0; i < 8; i++) { shape.columns[i] = 64; shape.rows[i] = 16; } \
  _tile_loadconfig(&shape); \
  _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3); \
  _tile_loadd(4, memory, 64); _tile_loadd(5, memory, 64); \
  _tile_loadd(6, memory, 64); _tile_loadd(7, memory, 64); \
  for (long n = 0; n < rounds; n++) { \
    PRODUCT(0, 4, 6); PRODUCT(1, 4, 7); PRODUCT(2, 5, 6); PRODUCT(3, 5, 7); \
  } \
  _tile_stored(0, memory, 64); *out += memory[0]; \
  _tile_release(); \
  return rounds * 4.0 * 2 * 16 * 16 * MULTIPLY_ADDS; \
}
#endif
#define DOTS(NAME, SUM, START, FACTOR, PRODUCT, FIRST, MULTIPLY_ADDS) \
double NAME(long rounds, float *out) { \
  SUM sum[CHAINS]; FACTOR a = {0}, b = {0}; \
  for (int i = 0; i < CHAINS; i++) sum[i] = START(i); \
  for (long n = 0; n < rounds; n++) \
    UNROLLED for (int i = 0; i < CHAINS; i++) sum[i] = PRODUCT(sum[i], a, b); \
  for (int i = 0; i < CHAINS; i++) *out += FIRST(sum[i]); \
  return 2.0 * rounds * CHAINS * MULTIPLY_ADDS; \
}
#define NONE(NAME) double NAME(long rounds, float *out) { return 0; }

#if defined(__AMX_BF16__) && defined(__linux__)
TILES(bfloat16_flop, _tile_dpbf16ps, 32)
#elif defined(__AVX512BF16__)
DOTS(bfloat16_flop, __m512, _mm512_set1_ps, __m512bh, _mm512_dpbf16_ps, _mm512_cvtss_f32, 32)
#else
NONE(bfloat16_flop)
#endif
#if defined(__AMX_INT8__) && defined(__linux__)
TILES(int8_flop, _tile_dpbusd, 64)
#elif defined(__AVX512VNNI__)
DOTS(int8_flop, __m512i, _mm512_set1_epi32, __m512i, _mm512_dpbusd_epi32, _mm512_cvtsi512_si32, 64)
#else
NONE(int8_flop)
#endif
"""
PEAK = "multiply-adds alone"  # its name in the tables
PRECISIONS = ("float32", "bfloat16", "int8")
FLOP_OF_A_RUN = 2e11  # per thread: takes seconds in float32, tenths of a second on AMX


class Unavailable(Exception):  # noqa: N818 - nothing is wrong
    """The peak cannot be measured on this machine; the message says why."""


def peak_run(precision: str, threads: int = 0) -> tuple[Callable[[], object], float]:
    """A function that computes in several threads, and the number of its FLOP.

    Args:
        precision: one of `PRECISIONS`; for int8, integer operations count as FLOP.
        threads: number of threads; 0: one per core.

    Raises:
        Unavailable: there is no C compiler, or no such instruction.
    """
    function = _compiled(f"{precision}_flop")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = threads or cores

    def call(rounds: int) -> float:
        return function(rounds, ctypes.byref(ctypes.c_float()))

    flop_of_a_round = call(1)
    if not flop_of_a_round:
        raise Unavailable(f"the CPU has no {precision} instruction that this program knows")
    rounds = int(FLOP_OF_A_RUN / flop_of_a_round)
    pool = ThreadPoolExecutor(threads)
    # ctypes releases the interpreter's lock, so the threads run in parallel.
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
