"""`regraft pack` and `regraft unpack` as a person types them."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from regraft.__main__ import cli


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cats/1.png", "dogs/2.png", "dogs/.DS_Store"):
        Path("mine", name).parent.mkdir(parents=True, exist_ok=True)
        Path("mine", name).write_bytes(name.encode())


def regraft(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def entries(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def test_pack_and_unpack_give_the_folder_back_and_say_what_was_left_out() -> None:
    packed = regraft("pack", "mine", "packed")
    assert packed.exit_code == 0, packed.stderr
    assert packed.stdout == ("packed 2 files, 0.0 MB, into 1 shards: packed\nleft out, 1: dogs/.DS_Store\n")
    assert entries("packed") == ["shard-00000.tar", "shards.csv"]
    unpacked = regraft("unpack", "packed", "again")
    assert unpacked.stdout == "unpacked 2 files: again\n"
    assert entries("again") == ["cats/1.png", "dogs/2.png"]
    assert Path("again/cats/1.png").read_bytes() == b"cats/1.png"
    assert entries(".") == sorted(
        [f"mine/{e}" for e in entries("mine")]
        + [f"again/{e}" for e in entries("again")]
        + [
            "packed/shard-00000.tar",
            "packed/shards.csv",
        ]
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("pack", "mine", "mine/packed"), "mine/packed lies in mine, the folder to pack; put it beside"),
        (("pack", "mine", "full"), "the folder full is not empty; name a new one"),
        (("pack", "mime", "packed"), "the folder 'mime' (to pack) is not there"),
        (("unpack", "mine", "again"), "mine/shards.csv is not there"),
        (("unpack", "packed", "full"), "the folder full is not empty"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(arguments: tuple[str, ...], sentence: str) -> None:
    Path("full").mkdir()
    Path("full", "precious.txt").write_text("kept")
    before = entries(".")
    done = regraft(*arguments)
    assert done.exit_code == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert entries(".") == before
    assert not [path for path in Path().iterdir() if path.name.startswith(".")]


def test_a_damaged_shard_leaves_no_half_folder() -> None:
    assert regraft("pack", "mine", "packed").exit_code == 0
    shard = Path("packed/shard-00000.tar")
    shard.write_bytes(shard.read_bytes().replace(b"dogs/2.png", b"dogs/3.png"))
    done = regraft("unpack", "packed", "again")
    assert done.exit_code == 1
    assert "shard-00000.tar is damaged at byte" in done.stderr
    assert sorted(path.name for path in Path().iterdir()) == ["mine", "packed"]


def test_an_empty_folder_may_be_the_place() -> None:
    Path("packed").mkdir()
    assert regraft("pack", "mine", "packed").exit_code == 0
    Path("again").mkdir()
    assert regraft("unpack", "packed", "again").exit_code == 0
    assert entries("again") == ["cats/1.png", "dogs/2.png"]
