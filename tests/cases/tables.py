"""A small table as people have them, in several formats, and its features made with pandas."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet

ROWS = 240
CITIES = ("Bonn", "Köln, alt", 'the "Hague"', "São Paulo", "x", "y")


def made(seed=0, rows=ROWS):
    """Return a table with words, gaps, dates, booleans and numbers; `claims` and `wins` depend on them."""
    rng = np.random.default_rng(seed)
    city = rng.choice(CITIES, rows, p=(0.4, 0.3, 0.2, 0.06, 0.02, 0.02)).astype(object)
    age = rng.normal(40.0, 12.0, rows).round(2)
    years = rng.uniform(0.1, 2.0, rows).round(3)
    rate = np.exp(0.3 * (city == "Bonn") - 0.02 * (age - 40.0))
    frame = pd.DataFrame(
        {
            "id": np.arange(rows) + 1000,
            "age": age,
            "city": city,
            "smoker": rng.random(rows) < 0.3,
            "day": np.datetime64("2020-01-01") + rng.integers(0, 900, rows).astype("timedelta64[D]"),
            "zip": rng.integers(10, 14, rows),
            "years": years,
            "claims": rng.poisson(rate * years),
            "wins": np.where(rng.random(rows) < 1 / (1 + np.exp(1 - rate)), "yes", "no"),
        }
    )
    frame.loc[rng.random(rows) < 0.1, "age"] = np.nan
    frame.loc[rng.random(rows) < 0.1, "city"] = None
    frame["day"] = frame["day"].dt.date
    return frame


def write(frame, folder):
    """Write a table as CSV, as a folder of three Parquet files, and as Feather; return the paths by format."""
    text, parts, feather = folder / "table.csv", folder / "parts", folder / "table.feather"
    frame.to_csv(text, index=False)
    parts.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(len(frame)), [50, 180])):
        table = pa.Table.from_pandas(frame.iloc[rows], preserve_index=False)
        pa.parquet.write_table(table, parts / f"part-{number}.parquet", row_group_size=23)
    (parts / "_SUCCESS").write_text("")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pa.feather.write_feather(table, str(feather), chunksize=31)
    return {"csv": str(text), "parquet": str(parts), "arrow": str(feather)}


def features(frame, gaps="level", least=1, drop_first=False):
    """Return the features of age, city, smoker, day and zip (as levels) as pandas makes them."""
    found = {}
    fill = {"level": 0.0, "median": frame["age"].median(), "mean": frame["age"].mean()}.get(gaps)
    if gaps == "drop":
        frame = frame.dropna(subset=["age", "city"])
    found["age"] = frame["age"].fillna(fill) if fill is not None else frame["age"]
    if gaps != "drop":
        found["age[(gap)]"] = frame["age"].isna().astype(float)
    _levels(found, "city", frame["city"], least, drop_first)
    found["smoker"] = frame["smoker"].astype(float)
    found["day"] = (pd.to_datetime(frame["day"]) - pd.Timestamp(1970, 1, 1)).dt.days.astype(float)
    _levels(found, "zip", frame["zip"].astype(str), least, drop_first)
    return pd.DataFrame(found)


def _levels(found, title, column, least, drop_first):
    counts = column.value_counts()
    usual = sorted(counts[counts >= least].index)
    for level in usual[drop_first:]:
        found[f"{title}[{level}]"] = (column == level).astype(float)
    if len(usual) < len(counts):
        found[f"{title}[(rare)]"] = (column.notna() & ~column.isin(usual)).astype(float)
    if column.isna().any():
        found[f"{title}[(gap)]"] = column.isna().astype(float)
