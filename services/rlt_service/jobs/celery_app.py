"""Own Celery's options. Celery starts work and never remembers it: the database does."""

from typing import Any

from celery import Celery  # pyright: ignore[reportMissingTypeStubs] - celery carries no types

from rlt_core.schemas.jobs import QUEUE
from rlt_service.jobs.broker import broker_folders
from rlt_service.settings import Settings

TASK = "rlt.work"
"""The one task: claim rows of a queue until none waits."""
KEY_PREFIX = "rlt:"

_DAY_S = 24 * 3600


def make_celery(settings: Settings) -> Any:
    """Make an app with the options that a lost, doubled or late message cannot hurt; connects to nothing.

    The answer is a celery.Celery; typed as Any, since celery carries no types.
    """
    celery: Any = Celery("rlt", broker=settings.broker_url or broker_folders(settings.home).url, set_as_current=False)
    options: dict[str, Any] = {
        "task_default_queue": QUEUE,
        # A bell is acknowledged when heard: redelivery is the reconciler's task, after it has looked at the rows.
        "task_acks_late": False,
        "worker_disable_prefetch": True,
        # One at a time is what worker_disable_prefetch sees to. With a multiplier of 1 as well, an acknowledgement that
        # fails while the broker dies holds kombu 5.7's only prefetch slot for good: the worker lives and hears nothing.
        "worker_prefetch_multiplier": 0,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "worker_enable_remote_control": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_acquire_timeout": 5.0,
        # Who rings does not wait: the bell stays in the outbox and the next round rings again.
        "task_publish_retry": False,
        "broker_transport_options": {
            "visibility_timeout": 30 * _DAY_S,
            "socket_timeout": 10.0,
            "socket_connect_timeout": 5.0,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": KEY_PREFIX,
            "max_retries": 1,
            "interval_start": 0.0,
            "interval_step": 0.2,
            "interval_max": 0.2,
        },
        # One process, one job, no fork (see worker.py).
        "worker_pool": "solo",
        "worker_concurrency": 1,
    }
    celery.conf.update(options)
    return celery
