"""gochat proto."""

from pathlib import Path

from tests.processes import gochat

PROTO = Path(__file__).parents[2] / "proto"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*.proto")}


def test_it_writes_the_api_and_says_what(tmp_path: Path) -> None:
    run = gochat("proto", tmp_path / "new", check=True)
    written = contents(tmp_path / "new")
    assert written == {name: text for name, text in contents(PROTO).items() if name.startswith("gochat/api/")}
    assert run.stdout.splitlines() == [str(tmp_path / "new" / name) for name in sorted(written)]


def test_repeated_it_writes_what_is_missing(tmp_path: Path) -> None:
    gochat("proto", tmp_path, check=True)
    event = tmp_path / "gochat/api/event/v1/event.proto"
    event.unlink()
    assert gochat("proto", tmp_path, check=True).stdout == f"{event}\n"
    assert gochat("proto", tmp_path, check=True).stdout == ""


def test_it_replaces_no_other_content(tmp_path: Path) -> None:
    mine = tmp_path / "gochat/api/logic/v1/logic.proto"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    run = gochat("proto", tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"gochat: {mine} is there with other content: nothing was written\n"
    assert contents(tmp_path) == {"gochat/api/logic/v1/logic.proto": b"mine"}
