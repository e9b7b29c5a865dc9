"""`python -m rlt_service.doctor`: look at what `rlt up` would need on this machine, as JSON; read only.

Nothing is made, migrated or started: a doctor that changes what it looks at is none.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, TypedDict
from urllib.parse import quote

import psutil
from pydantic import ValidationError
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from rlt_core.errors import ConfigurationError, StorageUnavailableError
from rlt_core.schemas.jobs import QUEUE
from rlt_service.engine.placement import check_placement, engine_gpus
from rlt_service.launch import port
from rlt_service.listening import is_loopback
from rlt_service.settings import Settings, setting_of
from rlt_service.store.faults import MIN_FREE_BYTES
from rlt_service.store.migration import known_schemas, may_use, newest_schema, schemas_of
from rlt_service.store.objects import ObjectStore

GIB: Final = 2**30
LOW_FREE_BYTES: Final = 5 * GIB
"""Datasets, versions and checkpoints of a few small jobs fill that; below it a warning."""
TRAINER: Final = ("torch", "transformers", "trl", "peft", "accelerate")
"""Without these jobs wait in vain; serving needs none of them by itself."""


class Finding(TypedDict):
    """One check: what was seen, and what to do where it is not well."""

    name: str
    status: Literal["ok", "warn", "fail"]
    seen: str
    do: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the findings as one JSON array; gives 0 whatever they are, since they say it themselves."""
    parser = argparse.ArgumentParser(prog="python -m rlt_service.doctor", description="Look at this machine.")
    parser.add_argument("--home", type=Path, help="state folder (RLT_HOME)")
    home: Path | None = parser.parse_args(arguments).home
    sys.stdout.write(json.dumps(list(findings(home))) + "\n")
    return 0


def findings(home: Path | None = None) -> Iterator[Finding]:
    """Look at everything in turn; a check that breaks is a finding too, and the others go on."""
    try:
        settings = Settings.model_validate({} if home is None else {"home": home})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = setting_of(first["loc"])
        yield _finding("settings", "fail", f"{name} is {first['input']!r}: {first['msg']}", f"correct {name}")
        return
    settings = settings.model_copy(update={"home": settings.home.expanduser().absolute()})
    yield _finding("settings", "ok", f"{sum(name.startswith('RLT_') for name in os.environ)} RLT_* variables")
    checks: dict[str, Callable[[Settings], Finding]] = {
        "state folder": state_folder,
        "disk": disk,
        "memory": memory,
        "cores": cores,
        "engine": engine,
        "trainer": trainer,
        "base model": base_model,
        "port": free_port,
        "database": database,
        "queues": queues,
        "artifact store": artifact_store,
    }
    for name, check in checks.items():
        try:
            yield check(settings)
        except (OSError, SQLAlchemyError, ConfigurationError, StorageUnavailableError) as error:
            yield _finding(name, "fail", str(error).splitlines()[0], "mend what it says")


def state_folder(settings: Settings) -> Finding:
    """Say whether the state folder can be written, or made."""
    place = _nearest(settings.home)
    seen = f"{settings.home}{'' if place == settings.home else ', not made yet'}"
    if not place.is_dir():
        return _finding("state folder", "fail", f"{place} is a file", "name a folder with RLT_HOME or --home")
    if not os.access(place, os.W_OK | os.X_OK):
        return _finding(
            "state folder", "fail", f"{place} cannot be written by this user", "change its owner, or RLT_HOME"
        )
    return _finding("state folder", "ok", seen)


def disk(settings: Settings) -> Finding:
    """Say how much room there is where state lies."""
    free = shutil.disk_usage(_nearest(settings.home)).free
    seen = f"{free / GIB:.1f} GiB free below {_nearest(settings.home)}"
    if free < MIN_FREE_BYTES:
        return _finding("disk", "fail", seen, "free some space, or put RLT_HOME on another disk")
    if free < LOW_FREE_BYTES:
        return _finding("disk", "warn", seen, "versions and checkpoints may fill it: free some space")
    return _finding("disk", "ok", seen)


def memory(settings: Settings) -> Finding:
    """Say whether the engine's cache, the least that it takes, fits beside what runs now."""
    free = psutil.virtual_memory().available
    seen = f"{free / GIB:.1f} GiB of memory available"
    if settings.engine == "vllm" and free < settings.kv_cache_gib * GIB:
        wanted = f"the engine's cache alone takes {settings.kv_cache_gib:g} GiB"
        return _finding("memory", "fail", f"{seen}; {wanted}", "end other programs, or lower RLT_KV_CACHE_GIB")
    return _finding("memory", "ok", seen)


def cores(settings: Settings) -> Finding:
    """Say how many cores this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count < 2 and settings.engine == "vllm":
        return _finding("cores", "warn", "1 core", "engine and trainer share it: expect jobs to be slow")
    return _finding("cores", "ok", f"{count} cores")


def engine(settings: Settings) -> Finding:
    """Say whether the engine's library is installed, and whether the engines fit on this machine's GPUs."""
    if settings.engine == "fake":
        return _finding("engine", "warn", "fake: a stand-in that computes nothing", "unset RLT_ENGINE for a real one")
    found = _version("vllm")
    if found is None:
        return _finding("engine", "fail", "vllm is not installed", "pip install 'rlt[serve,train,cpu]' (or gpu)")
    gpus = engine_gpus()
    seen = f"vllm {found}, which may use {gpus or 'no'} NVIDIA GPU{'s' if gpus > 1 else ''}"
    try:
        check_placement(settings)
    except ConfigurationError as error:
        return _finding("engine", "fail", f"{seen}; {error}", "change RLT_TEACHER_ENGINE or RLT_STUDENT_ENGINE")
    return _finding("engine", "ok", seen)


def trainer(settings: Settings) -> Finding:
    """Say whether the trainer's libraries are installed."""
    if settings.trainer_command:
        return _finding("trainer", "ok", f"its own: {settings.trainer_command[0]}")
    found = {name: _version(name) for name in TRAINER}
    if missing := [name for name, version in found.items() if version is None]:
        return _finding("trainer", "warn", f"missing: {', '.join(missing)}", "to train, pip install 'rlt[train]'")
    return _finding("trainer", "ok", ", ".join(f"{name} {version}" for name, version in found.items()))


def base_model(settings: Settings) -> Finding:
    """Say whether the base model's files are where they should be; what comes from elsewhere is not asked for."""
    named = settings.base_model
    if settings.engine == "fake" or ":" in named:
        return _finding("base model", "ok", named)
    if not (Path(named) / "config.json").is_file():
        return _finding("base model", "fail", f"{named} has no config.json", "name a model's folder: RLT_BASE_MODEL")
    return _finding("base model", "ok", named)


def free_port(settings: Settings) -> Finding:
    """Say whether the port can be listened on; that of a running server of this state folder is its own."""
    if (note := _running(settings.home)) is not None:
        return _finding("port", "ok", f"the server of this state folder runs at {note}")
    found = port.claim(settings.host, settings.port)
    return _finding("port", "ok", f"{found} of {settings.host} is free")


def database(settings: Settings) -> Finding:
    """Say which schema the database has, and whether keys go with the address that is listened on."""
    url = make_url(settings.database)
    if url.drivername.partition("+")[0] == "sqlite":
        path = Path(url.database or "")
        if not path.is_file():
            return _door(settings, keys=0, seen=f"{path}, not made yet", behind="")
        shown, read_only = str(path), create_engine(f"sqlite:///file:{quote(str(path))}?{_untouched(path)}&uri=true")
    else:
        shown, read_only = url.render_as_string(hide_password=True), create_engine(url)
    try:
        with read_only.connect() as connection:
            schemas = schemas_of(connection)
            foreign = schemas - known_schemas()
            usable = may_use(connection, foreign)
            held = "keys" in read_only.dialect.get_table_names(connection)
            living = "SELECT count(*) FROM keys WHERE revoked_at IS NULL"
            keys = connection.scalar(text(living)) if held else 0
    finally:
        read_only.dispose()
    newest = newest_schema()
    seen = f"{shown}, schema {', '.join(sorted(schemas)) or 'none'}"
    if usable:
        seen = f"{seen}, of a newer RLT, beside which this one may run"
        return _door(settings, keys=keys or 0, seen=seen, behind="install that version here too")
    if foreign:
        return _finding(
            "database", "fail", f"{seen}: {', '.join(sorted(foreign))} is of a newer RLT", "install that version again"
        )
    behind = "" if schemas == {newest} else f"the next start brings it to schema {newest}: make an `rlt backup` before"
    return _door(settings, keys=keys or 0, seen=seen, behind=behind)


def queues(settings: Settings) -> Finding:
    """Say whether a worker with these settings hears every queue in which jobs wait, and no other."""
    waited_in, heard = {QUEUE, *settings.queues.values()}, set(settings.worker_queues)
    seen = f"jobs wait in {', '.join(sorted(waited_in))}; a worker here hears {', '.join(sorted(heard))}"
    if empty := sorted(heard - waited_in):
        do = f"no kind of job waits in {', '.join(empty)}: name it in RLT_QUEUES, as on the servers, or do not hear it"
        return _finding("queues", "warn", seen, do)
    if unheard := sorted(waited_in - heard):
        do = f"have a worker somewhere hear {', '.join(unheard)} (RLT_WORKER_QUEUES), or its jobs wait in vain"
        return _finding("queues", "warn", seen, do)
    return _finding("queues", "ok", seen)


def artifact_store(settings: Settings) -> Finding:
    """Say whether what machines share can be reached."""
    objects = ObjectStore.at(settings.artifact_store)
    if objects is None:
        return _finding("artifact store", "ok", f"none: all lies in {settings.artifacts}")
    begun = objects.is_begun()
    empty = "" if begun else ": nothing lies there yet, the first upload shows whether it can be written"
    return _finding("artifact store", "ok", settings.artifact_store + empty)


def _door(settings: Settings, *, keys: int, seen: str, behind: str) -> Finding:
    said = f"{seen}, {keys} keys"
    if not is_loopback(settings.host) and not keys:
        do = "make a key (`rlt keys create NAME --scope admin`), or set RLT_HOST=127.0.0.1"
        return _finding("database", "fail", f"{said}, and others reach {settings.host}", do)
    return _finding("database", "warn" if behind else "ok", said, behind)


def _running(home: Path) -> str | None:
    try:
        note = json.loads((home / "server.json").read_text(encoding="utf-8"))
        return str(note["address"]) if psutil.pid_exists(int(note["pid"])) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _untouched(path: Path) -> str:
    """Choose how SQLite opens a database without leaving anything: nobody writes where there is no write-ahead log.

    Where nobody does, even who only reads would lay one down.
    """
    return "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "mode=ro&immutable=1"


def _nearest(path: Path) -> Path:
    """Give the path, or what is there above it."""
    return next(one for one in (path, *path.parents) if one.exists())


def _version(name: str) -> str | None:
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"


def _finding(name: str, status: Literal["ok", "warn", "fail"], seen: str, do: str = "") -> Finding:
    return Finding(name=name, status=status, seen=seen, do=do)


if __name__ == "__main__":
    sys.exit(main())
