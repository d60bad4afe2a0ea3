"""Four hosts of two ranks: sums within a host first, and what they send."""

import json
from pathlib import Path

from tools.slow_link import Link

HERE = Path(__file__).parent
FOUR = Link(4, 0.0)


def test_sums_over_nodes_have_the_bits_of_flat_ones_and_send_half(across):
    done = across(FOUR, 8, "-m", "mpi4py", HERE / "sums.py")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["starts"] == [0, 2, 4, 6, 8]
    assert found["equal"]
    over_nodes, over_all = found["bytes"][-1]
    assert over_nodes < 0.6 * over_all
