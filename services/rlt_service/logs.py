"""Own how the processes of the service log: form by RLT_LOG_FORMAT, no query of a call, vLLM's own lines too."""

import json
import logging
from pathlib import Path

from rlt_core import log_records
from rlt_core.log_records import LogFormat


def set_up_logs(form: LogFormat) -> None:
    """Let this process log in `form` to standard error."""
    log_records.set_up(form)
    access = logging.getLogger("uvicorn.access")
    access.filters[:] = [_without_query]


def _without_query(record: logging.LogRecord) -> bool:
    """Cut what stands after the path: anything may stand there."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            value.partition("?")[0] if isinstance(value, str) and value.startswith("/") else value
            for value in record.args
        )
    return True


def vllm_config(home: Path) -> Path:
    """Write what makes vLLM's processes log in JSON, and return where it lies."""
    handler = {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "rlt_core.log_records.JsonLines"}},
        "handlers": {"json": handler},
        "loggers": {"vllm": {"handlers": ["json"], "level": "WARNING", "propagate": False}},
    }
    path = home / "cache" / "vllm-logging.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config), encoding="utf-8")
    return path
