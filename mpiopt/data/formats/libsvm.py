"""LIBSVM (svmlight) text: `label index:value index:value …  # comment`, plain or compressed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.comm.base import Comm
from mpiopt.data.formats.base import HEAD, PIECE, RawRows, Reader, Source
from mpiopt.data.formats.compressed_stream import without_packing
from mpiopt.data.formats.text_blocks import Block, TextFile, exact_numbers, locate, number_hint, text_start
from mpiopt.data.schema import Schema
from mpiopt.data.shard import CsrRows
from mpiopt.kernels import text_parse

_FIRST_LINE = re.compile(rb"\s*[-+.\deE]+(\s+(\d+|qid):[-+.\deEnaif]+)+\s*(#.*)?$")
_MAX_INDEX = (1 << 31) - 1  # indices are int32


@dataclass(frozen=True)
class Libsvm(Reader):
    """LIBSVM text, plain or compressed; indices from 1, or from 0 if index 0 occurs anywhere (or as `base` says)."""

    name: ClassVar[str] = "libsvm"
    suffixes: ClassVar[tuple[str, ...]] = (".svm", ".libsvm", ".svmlight")
    lines: ClassVar[bool] = True
    base: str = "auto"

    def __post_init__(self) -> None:
        if self.base not in ("auto", "0", "1"):
            raise ValueError(f"libsvm: base must be auto, 0 or 1, not {self.base!r}")

    def recognises(self, path: str, head: bytes) -> bool:
        """Return whether the suffix before that of a compression, or the first line with content, is the format's."""
        stem = without_packing(path.lower())
        if stem.endswith(self.suffixes):
            return True
        lines = [line for line in head.split(b"\n") if line.strip() and not line.lstrip().startswith(b"#")]
        first = lines[0] if lines else b""
        if len(lines) == 1 and len(head) == HEAD:
            first = first[: first.rfind(b" ") + 1]  # the last field may be incomplete
        return b":" in first and _FIRST_LINE.match(first) is not None

    def open(self, path: str, comm: Comm, features: int | None = None) -> Source:
        """Count the rows and look for an index 0, each rank in its part."""
        with comm.agree_on_errors():
            start = text_start(path)
        text = TextFile(path, comm, start)
        base = int(self.base) if self.base != "auto" else 0 if text.has_index_zero else 1
        limit = _MAX_INDEX if features is None else features
        schema = Schema(self.name, {"base": str(base)})
        return _Source(path, text.rows, None, True, None, text.nbytes, text, base, limit, schema=schema)


@dataclass(eq=False)
class _Source(Source):
    text: TextFile
    base: int
    limit: int

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        for block in self.text.blocks(nbytes):
            yield self._parse(block)

    def _parse(self, block: Block) -> RawRows:
        label, indptr = np.empty(block.rows), np.empty(block.rows + 1, np.int64)
        indices, values = np.empty(block.colons, np.int32), np.empty(block.colons)
        slow, fault = np.empty((len(block.text) // 20 + 1, 3), np.int64), np.zeros(2, np.int64)
        stored, hard = text_parse.parse_libsvm(
            block.text, self.base, self.limit, label, indptr, indices, values, slow, fault
        )
        if fault[0]:
            raise ValueError(self._explain(block, int(fault[0]), int(fault[1])))
        for slot, value in exact_numbers(block, slow[:hard]):
            (values if slot >= 0 else label)[slot if slot >= 0 else -1 - slot] = value
        width = int(indices[:stored].max()) + 1 if stored else 0
        return RawRows(CsrRows(indptr, indices[:stored], values[:stored], width), label, None, block.row)

    def _explain(self, block: Block, code: int, at: int) -> str:
        where, found = locate(self.text.path, block, at)
        lowest, highest = self.base, self.base + self.limit - 1
        allowed = {
            text_parse.LABEL: "a row must begin with one label, a finite number",
            text_parse.INDEX: "expected index:value with a whole index",
            text_parse.VALUE: "a value must be a finite decimal number",
            text_parse.QID: "query ids (ranking) are not supported; remove the qid field",
            text_parse.ORDER: "the indices of a row must ascend, each at most once",
            text_parse.BELOW: f"indices begin at {lowest} in this file",
            text_parse.BEYOND: f"indices from {lowest} to {highest} are allowed (--features {self.limit})",
            text_parse.RANGE: "the number is too large for float64",
        }[code]
        return f"{where}: found {found}; {allowed}{number_hint(found)}"
