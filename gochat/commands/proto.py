"""gochat proto: writes the .proto files of the API, for clients in other languages."""

import sys
from argparse import Namespace
from pathlib import Path

import gochat
from gochat.commands.arguments import Subparsers, add_command


def add_to(commands: Subparsers) -> None:
    written = add_command(commands, "proto", run, "write the .proto files of the API to a folder")
    written.add_argument("folder", type=Path, metavar="DIR")


def run(arguments: Namespace) -> int:
    """Writes all of them, or none where one would replace a file with other content."""
    source = _source()
    texts = {
        arguments.folder / file.relative_to(source): file.read_bytes()
        for file in sorted(source.glob("gochat/api/**/*.proto"))
    }
    present = {file for file in texts if file.exists()}
    if different := [file for file in present if file.read_bytes() != texts[file]]:
        print(f"gochat: {min(different)} is there with other content: nothing was written", file=sys.stderr)
        return 1
    for file in sorted(texts.keys() - present):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(texts[file])
        print(file)
    return 0


def _source() -> Path:
    """The folder of the .proto files: in the package, or beside it in a checkout."""
    package = Path(gochat.__file__).parent
    inside = package / "proto"
    return inside if inside.is_dir() else package.parent / "proto"
