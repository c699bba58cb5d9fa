import numpy as np
import pandas as pd
import pytest

from regraft.evaluation import split_kinds
from regraft.evaluation.intervals import Bootstrap
from regraft.evaluation.split_kinds import compare_split_kinds, describe_split_kinds

BOOTSTRAP = Bootstrap(200, 0.95, 0)
NAMES = ["a", "b"]


def make_table(*, own_look: float, num_groups: int = 24) -> tuple[np.ndarray, pd.DataFrame]:
    """Ten images a group; most of a group are of one label; features tell the label weakly, the group by its look."""
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(num_groups), 10)
    labels = ((group % 2) ^ (np.arange(len(group)) % 10 == 0)).astype(np.int64)
    features = 0.6 * generator.normal(size=(2, 20))[labels] + generator.normal(size=(len(group), 20))
    features += own_look * generator.normal(size=(num_groups, 20))[group]
    manifest = pd.DataFrame(
        {
            "split": np.array(["train", "train", "val", "test"])[group % 4],
            "label": labels,
            "group": [f"g{number}" for number in group],
            "pixel_sha256": [str(number) for number in range(len(group))],
        }
    )
    return features.astype(np.float32), manifest


def test_what_a_probe_owes_to_known_groups_shows_as_the_difference() -> None:
    found = compare_split_kinds(*make_table(own_look=3), NAMES, bootstrap=BOOTSTRAP)
    random, grouped = (found[kind]["probe"]["accuracy"]["value"] for kind in ("random", "grouped"))
    difference = found["difference"]["accuracy"]
    assert difference["value"] == pytest.approx(random - grouped)
    assert difference["low"] > 0.05
    assert found["random"]["group_majority"]["accuracy"]["value"] == pytest.approx(0.9)
    assert found["grouped"]["group_majority"] == found["grouped"]["majority_class"]
    assert (found["in_use"], found["num_images"], found["num_groups"]) == ("grouped", 240, 24)
    assert describe_split_kinds(found).startswith("Splitting at random adds +")
    assert describe_split_kinds(found).endswith("of the second kind: of groups that were held out.")


def test_where_groups_leave_no_look_nothing_is_claimed() -> None:
    features, manifest = make_table(own_look=0)
    manifest["split"] = np.array(["train", "test"])[np.arange(len(manifest)) % 2]
    found = compare_split_kinds(features, manifest, NAMES, bootstrap=BOOTSTRAP)
    assert found["difference"]["accuracy"]["low"] <= 0
    assert found["in_use"] == "random"
    told = describe_split_kinds(found)
    assert "no more than chance can" in told
    assert told.endswith("of new groups expect the second.")


def test_copies_are_on_one_side_of_a_random_split_too() -> None:
    features, manifest = make_table(own_look=0)
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 2, len(manifest))  # nothing to learn but the copies by heart
    half = len(manifest) // 2
    features = np.concatenate([features[:half], features[:half]])
    manifest = manifest.assign(label=np.concatenate([labels[:half], labels[:half]]))
    copies = manifest.assign(pixel_sha256=[str(number % half) for number in range(len(manifest))])

    def score(table: pd.DataFrame) -> float:
        found = compare_split_kinds(features, table, NAMES, bootstrap=BOOTSTRAP)
        value: float = found["random"]["probe"]["accuracy"]["value"]
        return value

    assert score(copies) < 0.6
    assert score(manifest) > score(copies) + 0.05


@pytest.mark.parametrize("groups", [[None] * 240, ["one"] * 240, [str(number) for number in range(240)]])
def test_without_groups_of_several_images_there_is_nothing_to_compare(groups: list[str | None]) -> None:
    features, manifest = make_table(own_look=1)
    found = compare_split_kinds(features, manifest.assign(group=groups), NAMES, bootstrap=BOOTSTRAP)
    assert found["random"] == found["grouped"] == found["difference"] == {}
    assert describe_split_kinds(found) == ""


def test_of_many_images_whole_groups_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_kinds, "_MAX_IMAGES", 105)
    found = compare_split_kinds(*make_table(own_look=1), NAMES, bootstrap=BOOTSTRAP)
    assert (found["num_images"], found["num_groups"]) == (100, 10)
