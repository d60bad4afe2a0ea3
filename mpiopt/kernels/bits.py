"""Floats as their 64 bits, and single bytes of memory, inside compiled code."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


def _float_of(typing, bits):  # type: ignore[no-untyped-def]
    def cast(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.uint64), cast


def _bits_of(typing, number):  # type: ignore[no-untyped-def]
    def cast(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], ir.IntType(64))

    return types.uint64(types.float64), cast


def _load_byte(typing, address):  # type: ignore[no-untyped-def]
    def load(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.load(builder.inttoptr(args[0], ir.IntType(8).as_pointer()))

    return types.uint8(types.int64), load


# Any: inside a kernel they are called without the typing context that their definition has.
float_of: Any = intrinsic(_float_of)  # the float64 with these bits (uint64)
bits_of: Any = intrinsic(_bits_of)  # the bits (uint64) of a float64
load_byte: Any = intrinsic(_load_byte)  # the byte at an address: arrays passed to functions are reference-counted
