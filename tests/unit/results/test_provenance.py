import subprocess
from pathlib import Path

import pytest

from mpiopt.results.provenance import git_revision


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    git(tmp_path, "init", "-q", "work")
    git(tmp_path / "work", "commit", "-q", "--allow-empty", "-m", "one")
    return tmp_path / "work"


def test_revision_of_a_branch_packed_or_not_and_of_a_detached_head(checkout):
    want = git(checkout, "rev-parse", "HEAD")
    assert git_revision(checkout) == want
    git(checkout, "pack-refs", "--all")
    assert git_revision(checkout) == want
    git(checkout, "checkout", "-q", "--detach")
    assert git_revision(checkout) == want


def test_revision_of_a_linked_worktree(checkout):
    git(checkout, "worktree", "add", "-q", "../linked")
    assert git_revision(checkout.parent / "linked") == git(checkout, "rev-parse", "HEAD")


def test_no_checkout():
    assert git_revision(Path("/nonexistent")) == ""
