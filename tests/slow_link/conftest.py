"""Where namespaces are not permitted these tests are skipped, and the end of the run says so."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT, reason
from tools import slow_link

MISSING = "slow link:"
# Seconds of one run: 1 to 8 on two idle cores; with ten jobs beside it, and kernels to compile, 54 were seen.
LIMIT = 240


@pytest.fixture(scope="session")
def allowed():
    """Skip with the reason where this machine cannot join namespaces."""
    obstacle = slow_link.obstacle()
    if obstacle:
        pytest.skip(f"{MISSING} {obstacle}")


@pytest.fixture
def across(allowed):
    """Return a function that runs Python with these arguments on ranks across hosts joined by a slow link."""

    def run(link, ranks, *arguments, cwd=ROOT):
        words = slow_link.command(link, ranks, [sys.executable, *map(str, arguments)])
        return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)

    return run


def pytest_terminal_summary(terminalreporter):
    """Say in the open that nothing ran over a slow link."""
    missing = [r for r in terminalreporter.stats.get("skipped", []) if reason(r).startswith(MISSING)]
    if missing:
        terminalreporter.line(f"{len(missing)} tests over a slow link did NOT run. {reason(missing[0])}")
