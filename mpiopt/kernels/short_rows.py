"""Loops over the numbers of one CSR row that take four at a time, and hardly branch on how many there are.

Rows of a dozen numbers differ in length, and a branch that the processor foresees wrongly costs as much as ten
numbers. So the last, incomplete group of a row is read as a whole, the beginning of the next row with it, and what
does not belong to the row is masked. A row is taken only if three numbers more are stored behind it
(`csr.margins` and `csr.add_rows` see to that).

They are built as LLVM code: numba would make gather instructions of the first one, which are slow, and branches of
both.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

GROUP = 4

_WORD, _INDEX, _DOUBLE = ir.IntType(64), ir.IntType(32), ir.DoubleType()
_VECTOR = ir.VectorType(_DOUBLE, GROUP)
_FLAGS = ("nsz", "contract")


def _dot(size: int) -> Any:
    """Return an intrinsic: Σ_p value_p records[column_p * size] over p = first … end - 1; `records` is flat."""

    def dot(typingctx, indices, values, records, first, end):  # type: ignore[no-untyped-def]
        """Emit the loop in the place of the call."""
        signature = types.float64(indices, values, records, types.int64, types.int64)

        def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            columns, numbers, base = _data(context, builder, signature, arguments)
            first, end = arguments[3:]
            zero = ir.Constant(_VECTOR, [0.0] * GROUP)
            sums = cgutils.alloca_once(builder, _VECTOR)  # type: ignore[no-untyped-call]
            builder.store(zero, sums)
            with cgutils.for_range_slice(builder, first, end, _WORD(GROUP), _WORD) as (p, _):
                found = ir.Constant(_VECTOR, ir.Undefined)
                for lane in range(GROUP):
                    column = builder.load(builder.gep(columns, [builder.add(p, _WORD(lane))]))
                    place = builder.mul(builder.zext(column, _WORD), _WORD(size))
                    found = builder.insert_element(found, builder.load(builder.gep(base, [place])), _INDEX(lane))
                product = builder.fmul(_four(builder, numbers, p), found, flags=_FLAGS)
                left = _all_lanes(builder, builder.sub(end, p), _WORD)
                counted = ir.Constant(ir.VectorType(_WORD, GROUP), list(range(GROUP)))
                product = builder.select(builder.icmp_signed("<", counted, left), product, zero)
                builder.store(builder.fadd(builder.load(sums), product, flags=_FLAGS), sums)
            a, b, c, d = (builder.extract_element(builder.load(sums), _INDEX(lane)) for lane in range(GROUP))
            return builder.fadd(builder.fadd(a, b), builder.fadd(c, d))

        return signature, code

    return intrinsic(dot)


def _add_row(typingctx, indices, values, total, one, first, end, nowhere):  # type: ignore[no-untyped-def]
    """Add `one` times value_p to total[column_p] for p = first … end - 1; masked numbers go to total[nowhere].

    Four numbers are read before the first is written: a row's columns are distinct, which the processor cannot know.
    """
    signature = types.void(indices, values, total, types.float64, types.int64, types.int64, types.int32)

    def code(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        columns, numbers, base = _data(context, builder, signature, arguments)
        one, first, end, nowhere = arguments[3:]
        whole = builder.add(first, builder.and_(builder.sub(end, first), _WORD(-GROUP)))

        def add(p: Any, count: int, masked: bool) -> None:
            """Add the numbers p … p + count - 1."""
            places, sums = [], []
            for q in (builder.add(p, _WORD(k)) for k in range(count)):
                column = builder.load(builder.gep(columns, [q]))
                column = builder.select(builder.icmp_signed("<", q, end), column, nowhere) if masked else column
                places.append(builder.gep(base, [builder.zext(column, _WORD)]))
                product = builder.fmul(_number(builder, numbers, q), one, flags=_FLAGS)
                sums.append(builder.fadd(builder.load(places[-1]), product, flags=_FLAGS))
            for place, number in zip(places, sums, strict=True):
                builder.store(number, place)

        with cgutils.for_range_slice(builder, first, whole, _WORD(GROUP), _WORD) as (p, _):
            add(p, GROUP, masked=False)
        add(whole, GROUP - 1, masked=True)
        return context.get_dummy_value()

    return signature, code


def _data(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """Return where the first three arguments, arrays, begin."""
    return [context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in range(3)]


def _number(builder: Any, numbers: Any, p: Any) -> Any:
    """Return number p in float64."""
    found = builder.load(builder.gep(numbers, [p]))
    return found if found.type == _DOUBLE else builder.fpext(found, _DOUBLE)


def _four(builder: Any, numbers: Any, p: Any) -> Any:
    """Return the numbers p … p + 3 in float64."""
    kind = numbers.type.pointee
    place = builder.bitcast(builder.gep(numbers, [p]), ir.VectorType(kind, GROUP).as_pointer())
    found = builder.load(place, align=8 if kind == _DOUBLE else 4)
    return found if kind == _DOUBLE else builder.fpext(found, _VECTOR)


def _all_lanes(builder: Any, number: Any, kind: Any) -> Any:
    """Return a vector of the same number."""
    unset = ir.Constant(ir.VectorType(kind, GROUP), ir.Undefined)
    one = builder.insert_element(unset, number, _INDEX(0))
    return builder.shuffle_vector(one, unset, ir.Constant(ir.VectorType(_INDEX, GROUP), [0] * GROUP))


# Any: inside a kernel they are called without the typing context that their definition has.
dot_row, dot_records_of_four = _dot(1), _dot(4)
add_row: Any = intrinsic(_add_row)
