"""Dockerfiles name what is there, and the builder stage's steps make an environment that serves."""

import fnmatch
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.image_steps import Instruction, instructions_of, run_stage
from rlt_service.settings import Settings
from tests.deploy.commands import is_command, unknown_variables
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
FILES = (ROOT / "docker" / "Dockerfile.cpu", ROOT / "docker" / "Dockerfile.gpu")
LOCKED = re.compile(r"^([a-z0-9][^ =]*)==([^ ]+)", re.MULTILINE)


@pytest.fixture(params=FILES, ids=lambda file: file.suffix[1:])
def dockerfile(request: pytest.FixtureRequest) -> list[Instruction]:
    path: Path = request.param
    return instructions_of(path.read_text(encoding="utf-8"))


def values(instructions: list[Instruction], keyword: str, stage: str = "runtime") -> list[str]:
    return [one.value for one in instructions if one.keyword == keyword and one.stage == stage]


def admitted(path: str) -> bool:
    """Tell whether .dockerignore lets a path into the build."""
    lines = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] not in ("#", "")
    ]
    found = True
    for line in lines:
        pattern = line.removeprefix("!").removeprefix("**/")
        if (
            pattern == "*"
            or path == pattern
            or path.startswith(f"{pattern}/")
            or fnmatch.fnmatch(Path(path).name, pattern)
        ):
            found = line.startswith("!")
    return found


def test_what_is_copied_is_in_the_tree_and_in_the_build(dockerfile: list[Instruction]) -> None:
    copies = [value for stage in ("builder", "runtime") for value in values(dockerfile, "COPY", stage)]
    sources = [source for copy in copies if not copy.startswith("--from=") for source in copy.split()[:-1]]
    assert len(sources) >= 10
    for source in sources:
        assert (ROOT / source).exists(), source
        assert admitted(source), source


def test_the_build_gets_no_history_no_state_and_no_secrets() -> None:
    for path in (".git", ".rlt/rlt.db", "docker/secrets/rlt.env", "docs/index.md", "services/rlt_service/__pycache__"):
        assert not admitted(path), path


def test_everything_is_installed_from_locks_and_what_has_hashes_by_hash(dockerfile: list[Instruction]) -> None:
    installs = [value for value in values(dockerfile, "RUN", "builder") if " install " in value]
    assert all("--no-deps" in install for install in installs)
    free = [install for install in installs if "--require-hashes" not in install and "--no-index" not in install]
    assert all("torch-cpu.txt" in install for install in free)
    assert any("--require-hashes" in install for install in installs)


def test_images_are_pinned_and_run_as_nobody_special(dockerfile: list[Instruction]) -> None:
    (image,) = [one.value.partition("=")[2] for one in dockerfile if one.stage == "" and one.keyword == "ARG"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", image)
    assert values(dockerfile, "USER") == ["10001:10001"]
    assert values(dockerfile, "VOLUME") == ['["/var/lib/rlt", "/tmp"]']


def test_commands_variables_and_the_port_are_those_of_the_project(dockerfile: list[Instruction]) -> None:
    assert is_command(re.findall(r'"([^"]*)"', values(dockerfile, "CMD")[0]))
    assert values(dockerfile, "EXPOSE") == [str(Settings.model_fields["port"].default)]
    assert "/opt/healthcheck.py" in values(dockerfile, "HEALTHCHECK")[0]
    text = " ".join(one.value for one in dockerfile)
    assert unknown_variables(text) == set()
    assert "RLT_HOME=/var/lib/rlt" in text


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_images_hold_the_versions_that_were_tested(kind: str) -> None:
    tested = LOCKED.findall((ROOT / "requirements" / "cpu.lock.txt").read_text(encoding="utf-8"))
    image = LOCKED.findall((ROOT / "requirements" / f"image-{kind}.lock.txt").read_text(encoding="utf-8"))
    known = {name for name, _ in tested}
    # vLLM for GPUs wants this one exactly.
    others = {pair for pair in image if pair[0] in known and pair not in tested}
    assert {name for name, _ in others} <= ({"apache-tvm-ffi"} if kind == "gpu" else set())
    assert not {"pytest", "pyright", "ruff", "mkdocs"} & {name for name, _ in image}


def test_dockerfiles_pass_hadolint(tools: Path) -> None:
    done = subprocess.run([tools / "hadolint", *FILES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Carry out the builder stage but for its downloads; what those install is read from this environment."""
    folder = tmp_path_factory.mktemp("image")
    instructions = instructions_of(FILES[0].read_text(encoding="utf-8"))
    ran = [command for command, _ in run_stage(instructions, "builder", folder=folder, light=True)]
    assert len(ran) == 3
    return folder


def environment_of(image: Path, **more: str) -> dict[str, str]:
    there = [entry for entry in sys.path if entry.endswith("site-packages")]
    return {
        "PATH": f"{image}/opt/rlt/bin:/usr/bin:/bin",
        "HOME": str(image / "home"),
        "RLT_HOME": str(image / "home"),
        "PYTHONPATH": os.pathsep.join([str(next((image / "opt/rlt/lib").glob("*/site-packages"))), *there]),
        **more,
    }


@pytest.mark.processes
@pytest.mark.timeout(120)
def test_the_builders_steps_make_an_environment_whose_server_is_healthy_and_drains(image: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = environment_of(image, RLT_PORT=str(port), RLT_ENGINE="fake")
    code = "import rlt_service as s, rlt_client as c, rlt_train as t; print(s.__file__, c.__file__, t.__file__)"
    python = image / "opt" / "rlt" / "bin" / "python"
    found = subprocess.run([python, "-c", code], env=environment, cwd=image, capture_output=True, text=True, check=True)
    assert all(path.startswith(str(image)) for path in found.stdout.split())
    said = subprocess.run([image / "opt/rlt/bin/rlt", "--version"], env=environment, capture_output=True, text=True)
    assert said.stdout.startswith("rlt ")

    def healthy(path: str) -> bool:
        check = [python, ROOT / "docker" / "healthcheck.py", path]
        return subprocess.run(check, env=environment, capture_output=True, check=False).returncode == 0

    assert not healthy("/healthz")
    with subprocess.Popen([python, "-m", "rlt_service"], env=environment, cwd=image) as server:
        try:
            wait_until(lambda: healthy("/readyz"), timeout_s=60.0, what="the server is ready")
            server.send_signal(signal.SIGTERM)
            # uvicorn drains, then ends by the signal that it was sent.
            assert server.wait(timeout=30) in (0, -signal.SIGTERM)
        finally:
            server.kill()
