"""A short form of `benchmarks/kills.py`: a few kills of a real run at random moments, the same bytes in the end."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from kills import hashes, kill_runs


@pytest.mark.slow
def test_killed_runs_go_on_to_the_same_bytes(tmp_path: Path) -> None:
    trials = kill_runs(tmp_path, num_kills=3, num_per_class=20, seed=0)
    assert [trial.differing for trial in trials] == [()] * 3
    assert len(hashes(tmp_path / "untouched")) > 20


def test_a_changed_byte_and_a_leftover_are_differences(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "metrics.json").write_text("1")
    before = hashes(tmp_path)
    (tmp_path / "data" / "metrics.json").write_text("2")
    assert hashes(tmp_path) != before
    (tmp_path / "data" / "metrics.json").write_text("1")
    (tmp_path / "data" / ".metrics.json.writing").write_text("")
    assert hashes(tmp_path) != before
