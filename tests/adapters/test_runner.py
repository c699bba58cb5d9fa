import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from regraft.adapters import fingerprints
from regraft.adapters.files import ContentHashes
from regraft.adapters.receipts import has_present_result
from regraft.adapters.runner import STEPS_LOGGER

sys.path.insert(0, str(Path(__file__).parent))  # pytest's import mode does not

from step_sample import Sample, SampleOptions, installed

ALL = ["scale", "copy", "describe", "publish"]


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sample]:
    """The sample step, run once, in an empty working folder."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    Path("numbers.json").write_text("[1, 2, 3]")
    with installed(tmp_path) as sample:
        assert sorted(sample.run()) == sorted(ALL)
        yield sample


def rerun(sample: Sample) -> set[str]:
    """What runs now; and then nothing does."""
    ran = set(sample.run())
    assert sample.run() == []
    return ran


def test_first_run_writes_every_output(sample: Sample) -> None:
    assert json.loads(Path("scaled.json").read_text()) == [20, 40, 60]
    assert Path("sentence.txt").read_text() == "they are [20, 40, 60]"
    assert [entry.name for entry in Path("copies").iterdir()] == ["copied.json"]


def test_nothing_runs_where_nothing_has_changed(sample: Sample, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, STEPS_LOGGER):
        assert sample.run() == []
    told = [record for record in caplog.records if record.name == STEPS_LOGGER]
    assert sorted(record.node.name for record in told) == sorted(ALL)
    assert all(record.is_skipped for record in told)


def test_fresh_runs_all(sample: Sample) -> None:
    assert set(sample.run(is_fresh=True)) == set(ALL)
    assert sample.run() == []


def test_parameter_reruns_what_takes_it_and_what_follows(sample: Sample) -> None:
    sample.options = SampleOptions(rate=1)
    assert rerun(sample) == set(ALL)
    assert json.loads(Path("scaled.json").read_text()) == [2, 4, 6]
    sample.options = SampleOptions(rate=10)
    assert rerun(sample) == set(ALL), "a value of before is no result of now"


def test_input_reruns_by_its_content(sample: Sample) -> None:
    os.utime("numbers.json", (0, 0))
    assert rerun(sample) == set()
    Path("numbers.json").write_text("[1, 2, 4]")
    assert rerun(sample) == set(ALL)


def test_what_follows_does_not_rerun_where_the_result_is_the_same(sample: Sample) -> None:
    Path("numbers.json").write_text("[1,   2, 3]")
    assert rerun(sample) == {"scale"}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("nodes.py", set(ALL)),  # one file: what is in it is not told apart
        ("eager.py", set(ALL)),
        ("lazy.py", {"scale"}),
        ("deeper.py", {"scale"}),
        ("words.py", {"describe"}),
        ("words.j2", {"describe"}),
        ("__init__.py", set(ALL)),
        ("stranger.py", set()),
    ],
)
def test_code_reruns_the_nodes_that_need_it(sample: Sample, file: str, expected: set[str]) -> None:
    sample.append(file, "# changed\n")
    assert rerun(sample) == expected


def test_library_version_reruns(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sample.run() == []
    monkeypatch.setattr(fingerprints, "_version", lambda name: "99.0" if name == "torch" else "1")
    assert rerun(sample) == set(ALL)


def test_file_outside_the_catalog_reruns(sample: Sample) -> None:
    outside = Path("images")
    outside.mkdir()
    (outside / "1.jpg").write_text("one")
    sample.options = SampleOptions(outside=outside)
    assert "scale" in rerun(sample)
    (outside / "1.jpg").write_text("another")
    assert rerun(sample) == {"scale"}
    (outside / "2.jpg").write_text("two")
    assert rerun(sample) == {"scale"}


@pytest.mark.parametrize(
    ("path", "node"), [("scaled.json", "scale"), ("counts.json", "scale"), ("sentence.txt", "describe")]
)
def test_deleted_output_reruns(sample: Sample, path: str, node: str) -> None:
    before = Path(path).read_bytes()
    Path(path).unlink()
    assert rerun(sample) == {node}
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("path", ["scaled.json", "counts.json", "sentence.txt", "copies/copied.json"])
def test_altered_output_reruns(sample: Sample, path: str) -> None:
    before = Path(path).read_bytes()
    Path(path).write_bytes(before[::-1])
    assert rerun(sample) == {{"sentence.txt": "describe", "copies/copied.json": "copy"}.get(path, "scale")}
    assert Path(path).read_bytes() == before


def test_file_added_to_an_output_folder_reruns(sample: Sample) -> None:
    Path("copies/stray.txt").write_text("")
    assert rerun(sample) == {"copy"}
    assert not Path("copies/stray.txt").exists()


def test_failed_node_runs_again_and_what_was_done_does_not(sample: Sample) -> None:
    sample.write("words.py", "def sentence(scaled):\n    raise ValueError('planted')\n")
    Path("numbers.json").write_text("[5]")
    with pytest.raises(ValueError, match="planted"):
        sample.run()
    assert "scale" in sample.called
    with pytest.raises(ValueError, match="planted"):
        sample.run()
    assert "scale" not in sample.called
    sample.write("words.py", "def sentence(scaled):\n    return 'good'\n")
    assert "describe" in rerun(sample)
    assert Path("sentence.txt").read_text() == "good"


def test_failed_node_is_not_up_to_date_when_its_inputs_are_put_back(sample: Sample) -> None:
    sample.options = SampleOptions(fails=True)
    with pytest.raises(ValueError, match="planted"):
        sample.run()
    sample.options = SampleOptions()
    assert rerun(sample) == {"scale"}


@pytest.mark.parametrize("content", [None, "", "{half"])
def test_lost_or_broken_record_reruns(sample: Sample, content: str | None) -> None:
    record = Path(".regraft/nodes/scale.json")
    assert record.is_file()
    if content is None:
        record.unlink()
    else:
        record.write_text(content)
    assert rerun(sample) == {"scale"}


def test_lost_state_costs_time_only(sample: Sample) -> None:
    shutil.rmtree(".regraft")
    assert rerun(sample) == set(ALL)


def test_output_that_is_no_file_is_there_or_made_again(sample: Sample) -> None:
    Path("shelf").write_text("what others put there")
    assert sample.run() == [], "its content is not ours"
    Path("shelf").unlink()
    assert rerun(sample) == {"publish"}
    assert Path("shelf").exists()


def test_input_that_is_no_file_takes_no_part(sample: Sample) -> None:
    assert "cache" not in json.loads(Path(".regraft/nodes/copy.json").read_text())["fingerprint"]["inputs"]
    shutil.rmtree("cache")
    assert sample.run() == []


def unrecorded(sample: Sample) -> set[str]:
    """Nodes of which nothing shows that present code and parameters made what is there."""
    catalog, pipeline = sample.load()
    hashes = ContentHashes(Path("hashes.json"))
    return {node.name for node in pipeline.nodes if not has_present_result(node, catalog, hashes)}


def test_a_result_of_present_code_and_parameters_is_on_record(sample: Sample) -> None:
    assert unrecorded(sample) == set()
    sample.append("words.py", "# changed\n")
    assert unrecorded(sample) == {"describe"}
    sample.options = SampleOptions(rate=1)
    assert unrecorded(sample) == {"describe", "scale"}


def test_a_file_that_was_put_there_is_on_no_record(sample: Sample) -> None:
    Path("sentence.txt").write_text("another")
    assert unrecorded(sample) == {"describe"}
    shutil.rmtree(".regraft")
    assert unrecorded(sample) == set(ALL)
