from mpiopt.choice import Size, choose

ABLE = {"newton", "saga", "lbfgs"}


def size(rows, columns, **other):
    given = {"outputs": 1, "sparse": False, "ranks": 1, "tol": 1e-6, "quadratic": False, "smooth": True}
    stored = other.pop("numbers", rows * columns)
    return Size(rows=rows, unknowns=columns, numbers=stored, **{**given, **other})


def test_small_quadratics_go_to_newton():
    assert choose(size(20_000, 8, quadratic=True), ABLE)[0] in ("newton", "lbfgs")


def test_many_rows_for_each_unknown_start_from_a_sample():
    assert choose(size(500_000, 54), ABLE)[0] == "lbfgs"


def test_wide_sparse_rows_go_to_saga():
    assert choose(size(200_000, 37_000, sparse=True, numbers=14_000_000), ABLE)[0] == "saga"


def test_l1_on_few_columns_goes_to_newton_and_on_many_to_saga():
    assert choose(size(100_000, 50, smooth=False), ABLE)[0] == "newton"
    assert choose(size(100_000, 20_000, smooth=False, sparse=True, numbers=7_000_000), ABLE)[0] == "saga"


def test_only_what_is_able_is_chosen_and_the_reason_lists_all_estimates():
    name, why = choose(size(500_000, 54), {"saga", "newton"})
    assert name in ("saga", "newton")
    assert "newton" in why
    assert "saga" in why
    assert "lbfgs" not in why
