"""Offsets and exposures of a converted table: the file has them as given, and the loss says what they do.

A loss may take them out of the problem (`mpiopt.data.offsets.without_offset`) or leave them in the margins. So rows
change here on their way from the file, exactly as those of the table do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mpiopt.comm.base import Comm
from mpiopt.data.formats.base import PIECE, RawRows, Source
from mpiopt.data.offsets import GIVEN, STAYS, summed, without_offset
from mpiopt.data.row_checks import FileStatistics, refuse_changed
from mpiopt.data.schema import Schema
from mpiopt.data.tables.column import EXPOSURE, OFFSET, from_tree
from mpiopt.data.tables.source import refuse_offsets


@dataclass(eq=False)
class LinkedSource(Source):
    """The rows of a converted table with offsets as a loss takes them; `stated` is the checksum of those before."""

    source: Source
    link: str
    roles: tuple[str, ...]  # what is used of offset and exposure
    stated: str | None  # checksum of the file
    seen: FileStatistics = field(default_factory=FileStatistics)  # of the last pass

    def pieces(self, nbytes: int = PIECE) -> Iterator[RawRows]:
        """Read this rank's rows."""
        self.seen = FileStatistics()
        for piece in self.source.pieces(nbytes):
            self.seen.add(piece)
            try:
                yield self._linked(piece)
            except ValueError as fault:
                raise ValueError(f"{self.path}, {fault}") from None

    def _linked(self, piece: RawRows) -> RawRows:
        offset = piece.offset if OFFSET in self.roles else None
        exposure = piece.exposure if EXPOSURE in self.roles else None
        if offset is None and exposure is None:
            return replace(piece, offset=None, offset_stays=False, exposure=None)
        if self.offsets_stay:
            return replace(piece, offset=summed(offset, exposure, len(piece)), offset_stays=True, exposure=None)
        found = without_offset(piece.label, piece.weight, offset, exposure, self.link, piece.start)
        return RawRows(piece.rows, found.label, found.weight, piece.start, found.offset)


def roles_given(schema: Schema | None) -> tuple[str, ...]:
    """Return which of offset and exposure a table of this schema has kept for a loss."""
    if schema is None or not schema.table or schema.table["link"] != GIVEN:
        return ()
    return _roles(schema)


def _roles(schema: Schema) -> tuple[str, ...]:
    there = {column.role for column in from_tree(schema.table["columns"])} if schema.table else set()
    return tuple(role for role in (OFFSET, EXPOSURE) if role in there)


def linked(source: Source, link: str) -> Source:
    """Return the source of a data file for a loss that takes offsets in this way.

    Raises
    ------
    ValueError
        If the file has offsets or exposures and the loss takes none.
    """
    roles = roles_given(source.schema)
    if roles and source.schema is not None:
        refuse_offsets(source.path, from_tree(source.schema.table["columns"]), link)
    return _with(source, link, roles)


def linked_like(source: Source, trained: Schema) -> Source:
    """Return the source of a data file for a model: it takes the offsets with which it was trained."""
    there, needed = roles_given(source.schema), _roles(trained)
    lacking = [role for role in needed if role not in there]
    if lacking:
        note = f"{source.path}: there is no {' and no '.join(lacking)}; predictions are for an exposure of 1"
        source.notes = (*source.notes, note)
    used = tuple(role for role in there if role in needed)
    return _with(source, str(trained.table["link"]) if used else "", used)


def _with(source: Source, link: str, roles: tuple[str, ...]) -> Source:
    if source.schema is None or not roles_given(source.schema):
        return source
    return LinkedSource(
        source.path,
        source.total,
        source.features,
        source.sparse,
        source.names,
        source.nbytes,
        source,
        link,
        roles,
        source.checksum,
        schema=replace(source.schema, table={**source.schema.table, "link": link}),
        notes=source.notes,
        offsets_stay=bool(roles) and link.startswith(STAYS),
    )


def refuse_changed_file(source: Source, found: FileStatistics, comm: Comm) -> None:
    """Raise ValueError if all ranks' rows, of which this was found, are not those of the file; collective."""
    if isinstance(source, LinkedSource):
        refuse_changed(source.path, source.stated, source.seen.over_ranks(comm))
    else:
        refuse_changed(source.path, source.checksum, found)
