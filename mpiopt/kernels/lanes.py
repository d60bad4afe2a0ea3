"""Loops over the numbers of a CSR row that work on 4 or 8 outputs at once, in vector registers.

They are built as LLVM code, because numba turns neither of them into vector instructions: the number of outputs is
known at run time only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WIDE, NARROW = 8, 4  # outputs at once: a cache line, and half of one

_WORD, _DOUBLE = ir.IntType(64), ir.DoubleType()
_FLAGS = ("nsz", "contract")


def padded(outputs: int) -> int:
    """Return the numbers that a column takes: the outputs, filled up to a whole number of narrow vectors."""
    return outputs if outputs == 1 else -(-outputs // NARROW) * NARROW


class _Row:
    """What both loops read of a row: its columns and values, and the place of a column in an array of records."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any, lanes: int) -> None:
        self.builder, self.vector = builder, ir.VectorType(_DOUBLE, lanes)
        self.lanes = lanes
        self.indices, self.values, self.records, self.numbers = (
            context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in (0, 1, 2, 3)
        )
        self.size, self.chunk, self.first, self.end, self.at = arguments[4:9]

    def pointer(self, base: Any, offset: Any) -> Any:
        """Return where a vector begins."""
        return self.builder.bitcast(self.builder.gep(base, [offset]), self.vector.as_pointer())

    def record(self, p: Any) -> Any:
        """Return where the outputs of the column of number p begin."""
        column = self.builder.zext(self.builder.load(self.builder.gep(self.indices, [p])), _WORD)
        return self.pointer(self.records, self.builder.add(self.builder.mul(column, self.size), self.chunk))

    def value(self, p: Any) -> Any:
        """Return number p in all lanes."""
        number = self.builder.load(self.builder.gep(self.values, [p]))
        if number.type != _DOUBLE:
            number = self.builder.fpext(number, _DOUBLE)
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), number, ir.IntType(32)(0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(self.vector, ir.Undefined), lanes)

    def load(self, place: Any) -> Any:
        """Load a vector that begins at any number."""
        return self.builder.load(place, align=8)

    def store(self, number: Any, place: Any) -> None:
        """Store a vector."""
        self.builder.store(number, place, align=8)

    def plus(self, total: Any, x: Any, y: Any) -> Any:
        """Return total + x y."""
        return self.builder.fadd(total, self.builder.fmul(x, y, flags=_FLAGS), flags=_FLAGS)


def _emit_dot(row: _Row) -> None:
    """Write Σ_p value_p record_p to the numbers; two sums, since one would wait for each addition."""
    builder = row.builder
    zero = ir.Constant(row.vector, [0.0] * row.lanes)
    sums = [cgutils.alloca_once(builder, row.vector) for _ in range(2)]  # type: ignore[no-untyped-call]
    for place in sums:
        builder.store(zero, place)
    pairs = builder.and_(builder.sub(row.end, row.first), _WORD(-2))
    whole = builder.add(row.first, pairs)
    with cgutils.for_range_slice(builder, row.first, whole, _WORD(2), _WORD) as (p, _):
        for k, place in enumerate(sums):
            q = builder.add(p, _WORD(k))
            builder.store(row.plus(builder.load(place), row.value(q), row.load(row.record(q))), place)
    with builder.if_then(builder.icmp_signed("<", whole, row.end)):
        builder.store(row.plus(builder.load(sums[0]), row.value(whole), row.load(row.record(whole))), sums[0])
    total = builder.fadd(builder.load(sums[0]), builder.load(sums[1]), flags=_FLAGS)
    row.store(total, row.pointer(row.numbers, row.at))


def _emit_add(row: _Row) -> None:
    """Add value_p times the numbers to record_p, for each p."""
    numbers = row.load(row.pointer(row.numbers, row.at))
    with cgutils.for_range_slice(row.builder, row.first, row.end, _WORD(1), _WORD) as (p, _):
        place = row.record(p)
        row.store(row.plus(row.load(place), row.value(p), numbers), place)


def _loop(emit: Callable[[_Row], None], lanes: int) -> Any:
    """Return an intrinsic (indices, values, records, numbers, size, chunk, first, end, at) for so many lanes.

    `records` and `numbers` are flat: the outputs of column j begin at records[j * size], the loop works on those from
    `chunk` on, and `numbers` has theirs from `at` on. The row is first … end - 1.
    """

    def loop(typingctx, indices, values, records, numbers, size, chunk, first, end, at):  # type: ignore[no-untyped-def]
        """Emit the loop in the place of the call."""
        signature = types.void(indices, values, records, numbers, *[types.int64] * 5)

        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            emit(_Row(context, builder, signature, arguments, lanes))
            return context.get_dummy_value()

        return signature, code

    return intrinsic(loop)


dot_wide, dot_narrow = _loop(_emit_dot, WIDE), _loop(_emit_dot, NARROW)
add_wide, add_narrow = _loop(_emit_add, WIDE), _loop(_emit_add, NARROW)
