import itertools

from mpiopt.core.partition import block


def test_blocks_partition_the_rows_exactly():
    for total in (0, 1, 7, 100):
        for size in (1, 2, 3, 5, 8):
            cuts = [block(total, size, r) for r in range(size)]
            assert cuts[0][0] == 0
            assert cuts[-1][1] == total
            assert all(a[1] == b[0] for a, b in itertools.pairwise(cuts))
            assert max(b - a for a, b in cuts) - min(b - a for a, b in cuts) <= 1
