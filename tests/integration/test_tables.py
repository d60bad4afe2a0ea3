"""A new user's walk under mpirun: a raw CSV and a folder of Parquet parts, two commands each, on 1 to 4 ranks."""

import numpy as np

from mpiopt.results.result_file import read_result
from tests.cases.tables import made, write

PROGRAM = ("-m", "mpi4py", "-m", "mpiopt")
FLAGS = ["--target", "wins", "--drop", "id,claims", "--gaps", "level", "--encode", "zip=hash[bits=3]", "--intercept"]
FLAGS += ["--categorical", "zip", "--interactions", "city:smoker", "--tol", "1e-8"]


def test_a_table_becomes_named_coefficients_and_a_schema_of_the_same_bits_on_any_number_of_ranks(mpirun, tmp_path):
    frame = made()
    frame.loc[frame.index[-1], "city"] = "in the last file only"
    files, schemas, coefs = write(frame, tmp_path), set(), []
    for ranks, form in ((1, "csv"), (2, "parquet"), (3, "csv"), (4, "parquet")):
        out = tmp_path / f"{ranks}.h5"
        done = mpirun(ranks, *PROGRAM, "train", files[form], *FLAGS, "--out", out, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "4 in 2^3 places" in done.stdout
        found = read_result(out)
        schemas.add(found.schema.text().replace(f'"{form}"', '""'))
        coefs.append([*found.coef[0], *found.intercept])
    assert len(schemas) == 1
    assert "city[in the last file only]" in found.model.feature_names
    np.testing.assert_allclose(coefs, [coefs[0]] * 4, atol=1e-3)
    new = frame.sample(frac=1, axis=1, random_state=1).drop(columns="wins")
    new.loc[3, "city"] = "Atlantis"
    new.to_csv(tmp_path / "new.csv", index=False)
    done = mpirun(2, *PROGRAM, "predict", out, "new.csv", "--out", "answers.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "column 'city' has levels that the training had not: 'Atlantis' (1 rows)" in done.stdout
    assert {*(tmp_path / "answers.txt").read_text().split()} == {"no", "yes"}
