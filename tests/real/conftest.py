"""One real server for the folder: `rlt up` with vLLM and a worker, its state in a folder of its own."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlt_client import Client
from rlt_service.engine.models import resolve_model
from tests.support.server import running_up


@pytest.fixture(scope="module")
def real_home(rlt_home_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a state folder that has the converted model already (as links: it is half a gigabyte)."""
    home = tmp_path_factory.mktemp("real") / "home"
    model = resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models)
    shutil.copytree(model, home / "models" / model.name, copy_function=os.link)
    return home


@pytest.fixture(scope="module")
def user_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the server an empty home folder of its user."""
    return tmp_path_factory.mktemp("user")


@pytest.fixture(scope="module")
def real_client(real_home: Path, user_home: Path) -> Iterator[Client]:
    """Give a client of the real server."""
    environment = {"HOME": str(user_home)}
    with (
        running_up(real_home, arguments=(), environment=environment, ready_within_s=180.0) as up,
        Client(base_url=up.base_url) as client,
    ):
        yield client
