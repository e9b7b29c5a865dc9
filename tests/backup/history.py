"""What an installation has lived through before it is copied: versions, jobs with checkpoints; and a listener."""

import hashlib
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from rlt_core.artifacts import adapter_sha256
from rlt_core.schemas.jobs import QUEUE
from rlt_service.store.registry import Candidate
from tests.jobs.site import Site
from tests.support.control import write_adapter


class Quiet:
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.total_bytes: list[int] = []
        self.copied_bytes = 0

    def say(self, line: str) -> None:
        self.said.append(line)

    @contextmanager
    def copying(self, total_bytes: int) -> Generator[Callable[[int], None]]:
        self.total_bytes.append(total_bytes)
        yield self._advance

    def _advance(self, count: int) -> None:
        self.copied_bytes += count


def register(site: Site, name: str, *, seed: int = 0) -> str:
    """Make an adapter the next version of a name."""
    folder = write_adapter(site.artifacts.root / "imports" / f"{name}-{seed}", seed=seed)
    base = site.registry.base()
    candidate = Candidate(
        name=name,
        role="teacher",
        base_model=base.base_model,
        format=base.format,
        folder=folder,
        sha256=adapter_sha256(folder),
        lora_rank=4,
    )
    return site.registry.register(candidate).version


def run_until(site: Site, job: str, *, steps: tuple[int, ...]) -> int:
    """Claim the next job, which is `job`, and let its attempt save checkpoints; gives the attempt."""
    claimed = site.jobs.claim(queue=QUEUE, worker="test")
    assert claimed is not None
    assert claimed.job.id == job
    for step in steps:
        checkpoint(site, job, claimed.attempt, step=step)
    return claimed.attempt


def checkpoint(site: Site, job: str, attempt: int, *, step: int) -> Path:
    """Write a checkpoint as the trainer does, and tell of it."""
    folder = site.artifacts.attempt_dir(job, attempt) / "checkpoints" / f"step-{step}"
    write_adapter(folder / "adapter", seed=step)
    (folder / "state.pt").write_bytes(bytes(step) * 1000)
    files = {
        str(path.relative_to(folder)): {
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in folder.rglob("*")
        if path.is_file()
    }
    manifest = json.dumps({"step": step, "files": files}).encode()
    (folder / "manifest.json").write_bytes(manifest)
    told = {"step": step, "path": str(folder), "manifest_sha256": hashlib.sha256(manifest).hexdigest()}
    site.jobs.append_event(job, attempt, "checkpoint", told)
    return folder
