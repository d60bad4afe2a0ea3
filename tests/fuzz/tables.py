"""Texts of tables drawn from seeds: what mpiopt reads is what pandas reads, or it refuses in one line.

python -m tests.fuzz.tables --count 10000
"""

import argparse
import csv
import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from mpiopt.comm.threads import spmd
from mpiopt.data.tables.cells import TEXT_GAPS, words
from mpiopt.data.tables.column import Column
from mpiopt.data.tables.files import table_of
from mpiopt.data.tables.source import open_files
from mpiopt.data.tables.survey import read_cells

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
WORDS = ["north", "south", "São Paulo", 'the "Hague"', "a,b", "c;d", "x y", "#1", "007", "1e5", "-", "0x1F", "1_000"]
GAPS = ["", "NA", "?", "nan", "null", "N/A", "None"]
REFUSED = "refused"
FAULTS = ["short line", "long line", "open quote", "word among numbers", "blank line", "line in quotes", "none"]


def cells(rng, kind, rows):
    """Return the cells of a column as text."""
    if kind == "whole":
        found = [str(v) for v in rng.integers(-1000, 1000, rows)]
    elif kind == "real":
        found = [rng.choice([repr, "{:.3e}".format, "{:g}".format])(float(v)) for v in rng.normal(0, 1e3, rows)]
    elif kind == "boolean":
        found = list(rng.choice(["True", "False"], rows))
    elif kind == "date":
        found = [str(np.datetime64("2019-06-01") + int(v)) for v in rng.integers(0, 900, rows)]
    else:
        found = list(rng.choice(WORDS, rows))
    for at in np.flatnonzero(rng.random(rows) < rng.choice([0.0, 0.0, 0.2, 0.9])):
        found[at] = str(rng.choice(GAPS))
    return found


def drawn(rng):
    """Return a text, its separator, and whether it has titles."""
    rows, count = int(rng.integers(1, 40)), int(rng.integers(2, 7))
    kinds = rng.choice(["whole", "real", "boolean", "date", "words"], count)
    columns = [cells(rng, kind, rows) for kind in kinds]
    table = [list(row) for row in zip(*columns, strict=True)]
    fault = str(rng.choice(FAULTS, p=[0.05] * 6 + [0.7]))
    separator = str(rng.choice(list(SEPARATORS)))
    at = int(rng.integers(rows))
    if fault == "short line":
        table[at] = table[at][:-1]
    elif fault == "long line":
        table[at] = [*table[at], "1"]
    elif fault == "word among numbers":
        table[at][int(rng.integers(count))] = "oops"
    elif fault == "line in quotes":
        table[at][int(rng.integers(count))] = "two\nlines"
    out = io.StringIO()
    quoting = int(rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    end = str(rng.choice(["\n", "\r\n"]))
    writer = csv.writer(out, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerow([f"column {k}" for k in range(count)])
    writer.writerows(table)
    lines = out.getvalue().split(end)
    if fault == "blank line":
        lines.insert(int(rng.integers(1, len(lines))), "")
    if fault == "open quote":
        lines[at + 1] = f'"{lines[at + 1]}'
    text = end.join(lines)
    if rng.random() < 0.3 and quoting == csv.QUOTE_MINIMAL and '"' not in text:
        text = text.replace(separator, f"{separator} ")
    return ("\ufeff" if rng.random() < 0.2 else "") + (text if rng.random() < 0.8 else text.rstrip(end)), separator


def read(path, separator, ranks):
    """Return what each column holds and its cells, as numbers or words, or the message of a refusal."""

    def on_rank(comm):
        table = open_files(table_of(path), f"csv:separator={SEPARATORS[separator]}", (), comm)
        found = []
        for batch in table.batches(table.kinds):
            columns = {}
            for title, kind in table.kinds.items():
                if kind == "text":
                    code, levels = words(batch.cells[title], TEXT_GAPS)
                    columns[title] = [None if c < 0 else levels[c] for c in code]
                else:
                    columns[title] = read_cells(batch, Column(title, kind), True).tolist()
            found.append((batch.start, columns))
        return table.kinds, table.total, found

    try:
        answers = spmd(ranks, on_rank)
    except ValueError as error:
        return str(error)
    kinds, total, _ = answers[0]
    parts = sorted((part for _, _, found in answers for part in found), key=lambda part: part[0])
    columns = {title: [cell for _, part in parts for cell in part[title]] for title in kinds}
    return kinds, total, columns


def of_pandas(path, separator):
    """Return what pandas guesses of each column, and its cells as text, None for gaps; None if it refuses."""
    options = {"sep": separator, "na_values": ["?"], "skipinitialspace": True, "encoding": "utf-8-sig"}
    try:
        guessed = pd.read_csv(path, **options)
        text = pd.read_csv(path, dtype=str, **options)
    except (ValueError, pd.errors.ParserError):
        return None
    return guessed, text


def as_number(kind, text):
    if text is None or text != text:
        return np.nan
    if kind == "boolean":
        return float(text.strip() == "True")
    if kind == "date":
        return (pd.Timestamp(text) - pd.Timestamp(1970, 1, 1)) / pd.Timedelta(1, "D")
    return float(text)


def difference(seed, folder):
    """Return in what mpiopt and pandas differ on the text of a seed; "" if they agree, REFUSED if mpiopt refuses."""
    rng = np.random.default_rng(seed)
    text, separator = drawn(rng)
    path = Path(folder) / "drawn.csv"
    path.write_bytes(text.encode())
    ours, theirs = read(str(path), separator, int(rng.integers(1, 4))), of_pandas(path, separator)
    if isinstance(ours, str):
        return REFUSED if "\n" not in ours else f"a message of two lines: {ours}"
    if theirs is None:
        return "pandas refuses what mpiopt reads"
    kinds, total, columns = ours
    guessed, cells_of = theirs
    if list(guessed.columns) != list(kinds) or len(guessed) != total:
        return f"{list(guessed.columns)}, {len(guessed)} rows; here {list(kinds)}, {total} rows"
    for title, kind in kinds.items():
        if (kind == "number") != (guessed[title].dtype.kind in "iuf" and not guessed[title].isna().all()):
            return f"{title}: {guessed[title].dtype}, here {kind}"
        known = [None if cell != cell else cell for cell in cells_of[title]]
        if kind == "text":
            same = columns[title] == [None if cell is None else cell.strip() for cell in known]
        else:
            same = np.array_equal(columns[title], [as_number(kind, cell) for cell in known], equal_nan=True)
        if not same:
            return f"{title}, {kind}: {known}, here {columns[title]}"
    return ""


def main():
    """Compare tables of many seeds, and print those that differ."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--count", type=int, default=1000)
    arguments.add_argument("--first", type=int, default=0)
    chosen = arguments.parse_args()
    wrong = refused = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(chosen.first, chosen.first + chosen.count):
            found = difference(seed, folder)
            refused += found == REFUSED
            if found not in ("", REFUSED):
                wrong += 1
                print(f"seed {seed}: {found[:600]}", flush=True)
    print(f"{chosen.count} tables, {refused} refused, {wrong} differ")


if __name__ == "__main__":
    main()
