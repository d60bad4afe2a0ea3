"""Block functions (a loss on a few rows at once), called by address from any kernel, and their building blocks.

A block function is a plain Python function f(z, y, out, n, outputs) over pointers to float64. `address` compiles it
at its first use. A kernel receives the address as an integer and calls it through `call_block`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from mpiopt.kernels.bits import float_of
from mpiopt.kernels.kernel_cache import cfunc

BlockFunction = Callable[[Any, Any, Any, int, int], None]

# Never nnan or ninf: they would make isnan false and hide a diverging run.
FAST = {"nsz", "arcp", "contract", "reassoc", "afn"}
# No reassociation where the order of operations carries the accuracy.
EXACT = {"nsz", "contract"}

_POINTER = types.CPointer(types.float64)  # type: ignore[no-untyped-call]
_SIGNATURE = types.void(_POINTER, _POINTER, _POINTER, types.int64, types.int64)
_compiled: dict[BlockFunction, Any] = {}  # keeps the machine code alive as long as the process
_compiling = threading.Lock()


def address(function: BlockFunction) -> int:
    """Return the address of a block function's machine code, which is compiled (or read from the cache) once.

    Parameters
    ----------
    function : callable
        f(z, y, out, n, outputs) over pointers to float64: margins z (n · outputs), labels y (n) and the result
        `out`, (n) or (n · outputs).

    Returns
    -------
    int
        Valid as long as the process lives.
    """
    with _compiling:
        if function not in _compiled:
            _compiled[function] = cfunc(_SIGNATURE, function, fastmath=EXACT, error_model="numpy")
        return int(_compiled[function].address)


def _call_block(typingctx, place, z, y, first, out, n, outputs):  # type: ignore[no-untyped-def]
    """Call the block function at address `place` on n rows whose labels are y[first:first + n].

    With offsets beside the labels, y of shape (rows, 2), the margins of the one output are z plus the offsets.
    """
    signature = types.void(types.int64, z, y, types.int64, out, types.int64, types.int64)
    if y.ndim == 2:
        return signature, _emit_with_offsets

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        double, integer = ir.DoubleType().as_pointer(), ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [double, double, double, integer, integer])
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        margins, labels, place_out = (_data(context, builder, signature, arguments, k) for k in (1, 2, 4))
        labels = builder.gep(labels, [arguments[3]])
        builder.call(function, [margins, labels, place_out, arguments[5], arguments[6]])
        return context.get_dummy_value()

    return signature, emit


def _emit_with_offsets(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return context.compile_internal(builder, _call_with_offsets, signature, arguments)


def _call_with_offsets(place: int, z: Any, y: Any, first: int, out: Any, n: int, outputs: int) -> None:
    """Do as `call_block` for labels and offsets side by side: the loss gets margins and labels of its own."""
    moved, label = np.empty(n), np.empty(n)
    for i in range(n):
        label[i] = y[first + i, 0]
        moved[i] = z[i] + y[first + i, 1]
    call_block(place, moved, label, 0, out, n, outputs)


def _prefetch(typingctx, array, offset):  # type: ignore[no-untyped-def]
    """Prefetch the cache line of the element at flat `offset` of a C-contiguous array; it never faults."""
    signature = types.void(array, types.intp)

    def emit(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = _data(context, builder, signature, arguments, 0)
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        name = "llvm.prefetch.p0"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        builder.call(function, [place, word(0), word(3), word(1)])  # read, high locality, data cache
        return context.get_dummy_value()

    return signature, emit


def _data(context: Any, builder: Any, signature: Any, arguments: Any, k: int) -> Any:
    """Return the pointer to the data of argument k."""
    return context.make_array(signature.args[k])(context, builder, arguments[k]).data


# Any: inside a kernel they are called without the typing context that their definition has.
call_block: Any = intrinsic(_call_block)
prefetch: Any = intrinsic(_prefetch)


@njit(fastmath=EXACT, inline="always", error_model="numpy")
def exponential(x: float) -> float:
    """Compute exp(x) to 2 units in the last place, in a form that a loop can vectorise.

    nan stays nan; above 709.43 it is inf, below -708.39 (where results would be denormal) 0.
    """
    bounded = min(max(x, -708.39), 709.43)
    k = np.rint(bounded * 1.4426950408889634)
    r = (bounded - k * 6.93147180369123816490e-01) - k * 1.90821492927058770002e-10
    r2 = r * r
    r4 = r2 * r2
    low = ((1.0 + r) + r2 * (0.5 + r * 1.6666666666666666e-01)) + r4 * (
        (4.1666666666666664e-02 + r * 8.333333333333333e-03)
        + r2 * (1.388888888888889e-03 + r * 1.984126984126984e-04)
    )
    high = (2.48015873015873e-05 + r * 2.7557319223985893e-06) + r2 * (
        2.755731922398589e-07 + r * 2.505210838544172e-08
    )
    top = 2.08767569878681e-09 + r * 1.6059043836821613e-10
    power = (low + (r4 * r4) * (high + r4 * top)) * float_of(np.uint64((np.int64(k) + 1023) << 52))
    power = np.inf if x > 709.43 else power
    power = 0.0 if x < -708.39 else power
    return x if x != x else power


@njit(fastmath=EXACT, inline="always", error_model="numpy")
def log1p_unit(e: float) -> float:
    """Compute log(1 + e) for 0 <= e <= 1 to 2 units in the last place: 2 artanh(s) with s = e/(2 + e) <= 1/3."""
    s = e / (2.0 + e)
    q = s * s
    q2 = q * q
    q4 = q2 * q2
    # Products with constants: a division costs as much as the rest.
    low = (1.0 + q * (1 / 3)) + q2 * (1 / 5 + q * (1 / 7))
    a = low + q4 * ((1 / 9 + q * (1 / 11)) + q2 * (1 / 13 + q * (1 / 15)))
    top = (1 / 25 + q * (1 / 27)) + q2 * (1 / 29 + q * (1 / 31))
    b = (1 / 17 + q * (1 / 19)) + q2 * (1 / 21 + q * (1 / 23)) + q4 * top
    return 2.0 * s * (a + (q4 * q4) * b)


def identity_value(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    """Block function: the value ½ ‖z‖² of a row, which does not depend on its label."""
    for i in range(n):
        total = 0.0
        for c in range(outputs):
            total += z[i * outputs + c] * z[i * outputs + c]
        out[i] = 0.5 * total


def identity_slope(z: Any, y: Any, out: Any, n: int, outputs: int) -> None:
    """Block function: the derivative of ½ ‖z‖², the margins themselves."""
    for i in range(n * outputs):
        out[i] = z[i]
