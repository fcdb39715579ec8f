"""Generates gochat/api and gochat/internal from proto/: `python tests/generate.py`. A test compares them."""

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent.parent
PROTO = ROOT / "proto"


def generate(out: Path) -> None:
    """Writes gochat/api/... and gochat/internal/... below out."""
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    tools = Path(sys.executable).parent
    plugins = [f"--plugin={name}={tools / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outputs = [
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet:{out}",
        f"--mypy_grpc_out=quiet:{out}",
    ]
    if code := protoc.main(["protoc", f"-I{PROTO}", *plugins, *outputs, *files]):
        raise SystemExit(code)
    for file in [*(out / "gochat").glob("*/*/*/*_pb2.py")]:
        for folder in file.parents[:3]:
            (folder / "__init__.py").touch()


if __name__ == "__main__":
    generate(ROOT)
