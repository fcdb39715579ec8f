"""Where a server runs. It leaves that in a file of its data folder for each half that it serves, so that commands find
it by the folder alone."""

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from gochat.config import Config, Tls, parse_address
from gochat.folders import give_to_owner, make_folder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Running:
    """address: HOST:PORT, as this machine can call it. tls: what a command needs to call it. metrics: a URL, or ""."""

    address: str
    tls: Tls
    metrics: str


def find(config: Config, half: str) -> Running | None:
    """What the server of this data folder has left; None where there is nothing. It may be of a server that was
    killed."""
    try:
        return _parse(json.loads(_file(config, half).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


@contextmanager
def findable(config: Config, halves: Sequence[str], address: str, name: str, metrics: str) -> Iterator[None]:
    """Lets commands find this server while the block lasts. A folder that cannot be written is only logged.

    address: HOST:PORT that it listens on. name: in its certificate. metrics: a URL, or "".
    """
    running = Running(_callable(address), _tls_of_commands(config.tls, name), metrics)
    with ExitStack() as files:
        for half in halves:
            try:
                _write(_file(config, half), running)
                files.callback(_remove, config, half, running)
            except OSError as error:
                log.warning(
                    "commands do not find this server by its data folder, only by --address: %s: %s",
                    *(error.filename, error.strerror),
                )
        yield


def _file(config: Config, half: str) -> Path:
    return Path(config.server.data) / f"server.{half}"


def _callable(address: str) -> str:
    """Loopback in place of an address that stands for all of this machine's."""
    host, port = parse_address("server.listen", address)
    with suppress(ValueError):
        if (ip := ip_address(host.strip("[]"))).is_unspecified:
            host = "127.0.0.1" if ip.version == 4 else "[::1]"
    return f"{host}:{port}"


def _tls_of_commands(tls: Tls, name: str) -> Tls:
    """For a server with these settings. The files are named so that they are found from any folder."""
    if not tls.cert:
        return Tls()
    shown = {"cert": os.path.abspath(tls.cert), "key": os.path.abspath(tls.key)} if tls.client_ca else {}
    return Tls(ca=os.path.abspath(tls.ca or tls.cert), name=tls.name or name, **shown)


def _write(file: Path, running: Running) -> None:
    """Replaces the file in one step. Raises OSError."""
    make_folder(file.parent)
    handle, temporary = tempfile.mkstemp(dir=file.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(asdict(running), out)
            give_to_owner(handle, file.parent)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise


def _remove(config: Config, half: str, running: Running) -> None:
    """Unless another server has replaced it."""
    if find(config, half) == running:
        with suppress(OSError):
            _file(config, half).unlink()


def _parse(content: dict[str, Any]) -> Running:
    """Raises what a file raises that no server has written."""
    tls = replace(Tls(), **{key.name: str(content["tls"][key.name]) for key in fields(Tls)})
    return Running(str(content["address"]), tls, str(content["metrics"]))
