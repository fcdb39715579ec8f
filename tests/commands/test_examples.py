"""The examples of the operator's guide that other programs read: systemd, nginx."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gochat.services import SERVICES, Audience, rpcs

GUIDE = (Path(__file__).parents[2] / "gochat" / "commands" / "README.md").read_text()


def example(kind: str) -> str:
    (text,) = re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return str(text)


def test_the_unit_never_gives_up() -> None:
    (section,) = re.findall(r"\[Unit\]\n(.*?)\n\[", example("ini"), re.DOTALL)
    assert "StartLimitIntervalSec=0" in section.splitlines()
    assert "Restart=on-failure" in example("ini").splitlines()


@pytest.mark.parametrize("with_tls", [False, True])
def test_systemd_takes_the_unit(tmp_path: Path, *, with_tls: bool) -> None:
    if not (analyze := shutil.which("systemd-analyze")):
        pytest.skip("no systemd-analyze")
    text = example("ini").replace("/usr/local/bin/gochat", "/bin/true")
    if with_tls:
        text, changed = re.subn(r"^# (?=LoadCredential|Environment=GOCHAT_TLS)", "", text, flags=re.MULTILINE)
        assert changed == 3
    unit = tmp_path / "gochat.service"
    unit.write_text(text)
    run = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True)
    assert not [line for line in (run.stdout + run.stderr).splitlines() if "gochat.service" in line]


def test_nginx_passes_on_what_apps_call_and_nothing_else() -> None:
    (pattern,) = re.findall(r"location ~ (\S+) \{", example("nginx"))
    for service in SERVICES:
        for path in rpcs([service]):
            assert bool(re.search(pattern, path)) == (service.audience is Audience.APPS), path


def test_nginx_takes_the_example(tmp_path: Path) -> None:
    if not (nginx := shutil.which("nginx")):
        pytest.skip("no nginx")
    text = re.sub(r"^\s*ssl_certificate.*\n", "", example("nginx"), flags=re.MULTILINE).replace("443 ssl", "8443")
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{text}}}\n")
    run = subprocess.run([nginx, "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
