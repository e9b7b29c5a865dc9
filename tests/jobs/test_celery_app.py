"""Celery starts work and never remembers it: each option that sees to that, by its value."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rlt_service.jobs.celery_app import make_celery
from rlt_service.jobs.worker import ARGUMENTS
from rlt_service.settings import Settings

AS_DESIGNED: dict[str, Any] = {
    "task_acks_late": False,
    "worker_disable_prefetch": True,
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "worker_enable_remote_control": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_pool_acquire_timeout": 5,
}
OTHERWISE: dict[str, Any] = {
    "worker_prefetch_multiplier": 0,
    "worker_soft_shutdown_timeout": 0.0,
    "worker_pool": "solo",
    "worker_concurrency": 1,
}
"""Where the code differs, docs/decisions/0018 says why."""
BESIDE: dict[str, Any] = {"task_default_queue": "train", "task_publish_retry": False}
TRANSPORT: dict[str, Any] = {
    "visibility_timeout": 30 * 24 * 3600,
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "global_keyprefix": "rlt:",
    # Ringing does not wait: the outbox remembers.
    "max_retries": 1,
    "interval_start": 0.0,
    "interval_step": 0.2,
    "interval_max": 0.2,
}


@pytest.mark.parametrize(("option", "value"), (AS_DESIGNED | OTHERWISE | BESIDE).items())
def test_an_option_of_celery_has_its_value(tmp_path: Path, option: str, value: object) -> None:
    assert make_celery(Settings(home=tmp_path)).conf[option] == value


def test_the_transport_has_these_options_and_no_other(tmp_path: Path) -> None:
    assert make_celery(Settings(home=tmp_path)).conf["broker_transport_options"] == TRANSPORT


def test_a_worker_runs_one_job_in_its_own_thread_and_talks_to_no_other() -> None:
    assert set(ARGUMENTS) >= {
        "--pool=solo",
        "--concurrency=1",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
    }


def test_no_signal_of_a_worker_is_remapped() -> None:
    """Celery reads REMAP_SIGTERM of the environment when it is imported; nothing of ours sets it."""
    environment = {name: value for name, value in os.environ.items() if name != "REMAP_SIGTERM"}
    code = "import os, rlt_service.jobs.worker; print(os.environ.get('REMAP_SIGTERM'))"
    found = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "None"
