"""What the machine itself reaches: sgemm by PyTorch and by OpenBLAS, PyTorch's bf16, and bandwidth."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import trainer_cases as cases

if TYPE_CHECKING:
    from collections.abc import Callable

BANDWIDTH_FLOATS = 1 << 26
"""Of each array: three are 768 MiB, more than caches hold."""
OLD_KERNELS = ("Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Atom", "Generic")
OPENBLAS = "libopenblas.so.0"
ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112
INT, FLOAT, POINTER = ctypes.c_int, ctypes.c_float, ctypes.c_void_p
SGEMM_ARGUMENTS = (*[INT] * 6, FLOAT, POINTER, INT, POINTER, INT, FLOAT, POINTER, INT)


class Library:
    """Times the products of a case, and a square one."""

    versions: dict[str, str]
    tolerance = 1e-3
    """How far a product of standard normal numbers may be off, times the root of its terms."""

    def __init__(self, case: cases.Case) -> None:
        self.gemms = [cases.SQUARE, *(gemm for gemm, _ in cases.gemms(case))]
        random = np.random.default_rng(0)
        self.operands = [
            (
                random.standard_normal(gemm.stored_a, dtype=np.float32),
                random.standard_normal(gemm.stored_b, dtype=np.float32),
                np.zeros((gemm.m, gemm.n), np.float32),
            )
            for gemm in self.gemms
        ]
        self.calls = [self.call(gemm, *o) for gemm, o in zip(self.gemms, self.operands, strict=True)]
        for gemm, (a, b, c), call in zip(self.gemms, self.operands, self.calls, strict=True):
            call()
            row = (a[:, 0] if gemm.transpose_a else a[0]).astype(np.float64)
            wanted = b @ row if gemm.transpose_b else row @ b
            if not np.allclose(c[0], wanted, atol=self.tolerance * np.sqrt(gemm.k)):
                sys.exit(f"{gemm.name} is wrong: no timing")

    def call(self, gemm: cases.Gemm, a: Any, b: Any, c: Any) -> Callable[[], Any]:
        """A function that multiplies."""
        raise NotImplementedError

    def products(self) -> list[float]:
        """Seconds of each product, the mean over a stretch of about ten milliseconds."""
        return [
            stretch(call, max(2, min(40, int(2e9 / gemm.flops))))
            for gemm, call in zip(self.gemms, self.calls, strict=True)
        ]

    def square(self, times: int) -> float:
        """Seconds of the square product, the mean of as many."""
        return stretch(self.calls[0], times)


def stretch(call: Callable[[], Any], times: int) -> float:
    """Seconds of a call among as many, after one that brings the data near."""
    call()
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


class PyTorchLibrary(Library):
    """torch.mm, and passes over long tensors."""

    def __init__(self, case: cases.Case, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.versions = {"torch": torch.__version__}
        self.passes: dict[str, tuple[int, Callable[[], Any]]] = {}
        super().__init__(case)

    def call(self, gemm: cases.Gemm, a: Any, b: Any, c: Any) -> Callable[[], Any]:
        """A function that multiplies."""
        mm, (a, b, c) = self.torch.mm, map(self.torch.from_numpy, (a, b, c))
        a, b = a.t() if gemm.transpose_a else a, b.t() if gemm.transpose_b else b
        return lambda: mm(a, b, out=c)

    def bandwidth(self) -> dict[str, float]:
        """Bytes per second that passes name; lines read only to be written are not counted."""
        if not self.passes:
            a, b, c = (self.torch.ones(BANDWIDTH_FLOATS) for _ in range(3))
            self.passes = {
                "copy, b = a": (8, lambda: b.copy_(a)),
                "triad, c = a + s·b": (12, lambda: self.torch.add(a, b, alpha=1e-9, out=c)),
                "in place, a += s·b": (12, lambda: a.add_(b, alpha=1e-9)),
            }
        return {name: n * BANDWIDTH_FLOATS / stretch(call, 2) for name, (n, call) in self.passes.items()}


class BFloat16Library(PyTorchLibrary):
    """torch.mm of bfloat16, with sums in float32 and results in bfloat16, as under autocast."""

    tolerance = 3e-2

    def call(self, gemm: cases.Gemm, a: Any, b: Any, c: Any) -> Callable[[], Any]:
        """A function that multiplies, after once into `c`."""
        torch = self.torch
        left, right = (torch.from_numpy(array).bfloat16() for array in (a, b))
        left, right = left.t() if gemm.transpose_a else left, right.t() if gemm.transpose_b else right
        out = torch.mm(left, right)
        torch.from_numpy(c).copy_(out)
        return lambda: torch.mm(left, right, out=out)


def check_bfloat16() -> None:
    """Raises where PyTorch only emulates bf16: a product takes minutes, which nobody would wait for."""
    import torch

    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise RuntimeError("this processor has no instructions that PyTorch's bf16 needs")


def choose_kernels() -> None:
    """Has an OpenBLAS that is older than the processor use the newest kernels that fit.

    It takes those of 2004 otherwise. It is told before it is loaded, so another process asks it first.
    """
    question = f"import ctypes as c; f = c.CDLL('{OPENBLAS}').openblas_get_corename; f.restype = c.c_char_p; "
    command = [sys.executable, "-c", question + "print(f().decode())"]
    kernels = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    cpuinfo = Path("/proc/cpuinfo")
    if kernels in OLD_KERNELS and cpuinfo.is_file() and "OPENBLAS_CORETYPE" not in os.environ:
        flags = cpuinfo.read_text().split()
        newer = "SkylakeX" if "avx512f" in flags else "Haswell" if "avx2" in flags else kernels
        os.environ["OPENBLAS_CORETYPE"] = newer


class OpenBLASLibrary(Library):
    """cblas_sgemm of the system's OpenBLAS, the library that SpeeDiff calls."""

    def __init__(self, case: cases.Case, threads: int) -> None:
        choose_kernels()
        library = ctypes.CDLL(OPENBLAS)
        library.openblas_get_corename.restype = library.openblas_get_config.restype = ctypes.c_char_p
        kernels = library.openblas_get_corename().decode()
        library.openblas_set_num_threads(threads)
        config = library.openblas_get_config().decode().split()[:2]
        self.versions = {"openblas": " ".join([*config, kernels])}
        self.sgemm = library.cblas_sgemm
        self.sgemm.restype = None
        self.sgemm.argtypes = [*SGEMM_ARGUMENTS]
        super().__init__(case)

    def call(self, gemm: cases.Gemm, a: Any, b: Any, c: Any) -> Callable[[], Any]:
        """A function that multiplies."""
        orders = (TRANSPOSED if flag else PLAIN for flag in (gemm.transpose_a, gemm.transpose_b))
        pa, pb, pc = (array.ctypes.data for array in (a, b, c))
        arguments = (ROW_MAJOR, *orders, gemm.m, gemm.n, gemm.k, 1.0, pa, a.shape[1], pb, b.shape[1])
        return lambda: self.sgemm(*arguments, 0.0, pc, gemm.n)


BFLOAT16 = "torch.mm bf16"
LIBRARIES = {"torch.mm": PyTorchLibrary, "OpenBLAS": OpenBLASLibrary, BFLOAT16: BFloat16Library}


def floor(
    case: cases.Case,
    parameters: int,
    seconds: dict[str, list[float]],
    sustained: dict[str, list[float]],
    bandwidth: dict[str, float],
) -> dict[str, Any]:
    """The least time of a step: its operations at the peak of sgemm, and its update at the bandwidth.

    Args:
        case: What is computed.
        parameters: How many the update goes over.
        seconds: For each library, the least of each product in the order of `Library.gemms`.
        sustained: For each library, seconds of the square product in stretches as long as a step.
        bandwidth: Bytes per second by pass.
    """
    gemms = [(cases.SQUARE, 0), *cases.gemms(case)]
    rates = {
        library: {gemm.name: gemm.flops / s for (gemm, _), s in zip(gemms, least, strict=True)}
        for library, least in seconds.items()
    }
    library, product, peak = max(
        ((library, name, rate) for library, r in rates.items() for name, rate in r.items()),
        key=lambda item: item[2],
    )
    # The blocks' linear layers at the better library's rate for each shape, all the rest at the peak.
    best = [min(times) for times in zip(*seconds.values(), strict=True)]
    rest = cases.flops(case) - sum(gemm.flops * count for gemm, count in gemms)
    by_shape = rest / peak + sum(s * count for s, (_, count) in zip(best, gemms, strict=True))
    update_bytes = parameters * cases.UPDATE_BYTES
    return {
        "flops": cases.flops(case),
        "peak_flops_per_second": peak,
        "peak_library": library,
        "peak_product": product,
        "sustained_flops_per_second": cases.SQUARE.flops
        / min(s for all_ in sustained.values() for s in all_),
        "square_flops_per_second": max(r[cases.SQUARE.name] for r in rates.values()),
        "flops_per_second": rates,
        "products_seconds": cases.flops(case) / peak,
        "products_by_shape_seconds": by_shape,
        "update_bytes": update_bytes,
        "bandwidth_bytes_per_second": bandwidth,
        "update_seconds": update_bytes / max(bandwidth.values()),
    }
