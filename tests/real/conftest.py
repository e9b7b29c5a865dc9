"""One real server for the folder: `rlt up` with vLLM and a worker, its state in a folder of its own.

It starts once, as that takes half a minute: tests find what they made themselves, by names of their own.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlt_client import Client
from rlt_service.caches import cache_environment
from rlt_service.engine.models import resolve_model
from tests.support.server import Up, running_up


@pytest.fixture(scope="session")
def real_home(rlt_home_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a state folder that has the converted model already (as links: it is half a gigabyte)."""
    home = tmp_path_factory.mktemp("real") / "home"
    model = resolve_model("builtin:smollm2-135m", state_folder=rlt_home_models)
    shutil.copytree(model, home / "models" / model.name, copy_function=os.link)
    return home


@pytest.fixture(scope="session")
def user_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the server an empty home folder of its user."""
    return tmp_path_factory.mktemp("user")


@pytest.fixture(scope="session")
def real_up(real_home: Path, user_home: Path, rlt_home_models: Path) -> Iterator[Up]:
    """Give the real server, which uses what engines compiled and found out before: that takes them 20 s."""
    leases = {"RLT_LEASE_S": "12", "RLT_HEARTBEAT_S": "3"}  # a killed worker is missed sooner
    environment = {"HOME": str(user_home), **cache_environment(rlt_home_models), **leases}
    with running_up(real_home, arguments=(), environment=environment, ready_within_s=180.0) as up:
        yield up


@pytest.fixture(scope="session")
def real_client(real_up: Up) -> Iterator[Client]:
    """Give a client of the real server."""
    with Client(base_url=real_up.base_url) as client:
        yield client
