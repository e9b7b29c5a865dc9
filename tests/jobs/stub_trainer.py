"""A trainer that does at once what its job's name says: it keeps the contract of rlt_core.schemas.trainer, no torch."""

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rlt_core.artifacts import adapter_sha256, weights_sha256

EXIT_DISK_FULL, EXIT_LEASE_LOST = 74, 75


def main() -> int:
    job: dict[str, Any] = json.loads(Path(sys.argv[sys.argv.index("--job") + 1]).read_text())
    threading.Thread(target=_end_with_the_supervisor, daemon=True).start()
    (Path(job["attempt_dir"]) / "pids").write_text(f"{os.getpid()}\n")
    (Path(job["attempt_dir"]) / "api_key").write_text(os.environ.get("RLT_API_KEY", ""))
    (Path(job["attempt_dir"]) / "traceparent").write_text(os.environ.get("TRACEPARENT", ""))
    name: str = job["spec"]["name"] or "ok"
    if name.endswith("-once"):
        name = name.removesuffix("-once") if job["attempt"] == 1 else "ok"
    print(f"stub trainer: {name}", flush=True)  # noqa: T201 - what the log holds
    known = {
        "ok": _ok,
        "gate": _gate,
        "gate-worse": _gate_worse,
        "crash": _crash,
        "hang": _hang,
        "mute": _mute,
        "mute-at-its-end": lambda job: _ok(job) or _mute(job),
        "chatty": _chatty,
    }
    known |= {"odd-metrics": _odd_metrics, "changed": lambda job: _ok(job, announced="0" * 64)}
    if name.startswith("exit-"):
        return int(name.removeprefix("exit-"))
    return (known | {"saves": _saves, "saved": _saved, "stubborn": _stubborn, "no-result": _nothing}).get(
        name, _say_error
    )(job)


def _ok(job: dict[str, Any], *, steps: tuple[int, ...] = (1, 2), announced: str | None = None) -> int:
    _emit(job, type="log", message="training")
    for step in steps:
        _emit(job, type="progress", step=step, total=2, metrics={"loss": 1.0 / step})
    folder = Path(job["attempt_dir"]) / "adapter"
    full = job["spec"]["lora"] is None
    _write_model(folder) if full else _write_adapter(folder)
    _emit(
        job,
        type="result",
        adapter_dir=str(folder),
        sha256=announced or (weights_sha256(folder) if full else adapter_sha256(folder)),
        lora_rank=None if full else 16,
        base_model=job["base_model"],
        steps=2,
        parent=job["student_version" if job["kind"] == "rlvr" else "teacher_version"],
        cost={"total_s": 0.1},
    )
    return 0


def _odd_metrics(job: dict[str, Any]) -> int:
    """Tell of a loss that overflowed for two steps."""
    odd = {"loss": float("nan"), "grad_norm": float("inf"), "kl": 0.1}
    for step, metrics in enumerate([{"loss": 1.0}, odd, odd], start=1):
        _emit(job, type="progress", step=step, total=4, metrics=metrics)
    return _ok(job, steps=(4,))


def _write_adapter(folder: Path) -> None:
    """Write a LoRA of rank 16 that an engine takes and that changes nothing: all its weights are 0."""
    prefix, size = "base_model.model.model.layers.0.self_attn.q_proj", 16 * 8 * 4
    header = {
        f"{prefix}.lora_A.weight": {"dtype": "F32", "shape": [16, 8], "data_offsets": [0, size]},
        f"{prefix}.lora_B.weight": {"dtype": "F32", "shape": [8, 16], "data_offsets": [size, 2 * size]},
    }
    head = json.dumps(header).encode()
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(2 * size))
    config = {"peft_type": "LORA", "r": 16, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def _write_model(folder: Path) -> None:
    """Write a whole model, of one tensor."""
    head = json.dumps({"model.norm.weight": {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}}).encode()
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + bytes(32))
    (folder / "config.json").write_text("{}")


def _gate_worse(job: dict[str, Any]) -> int:
    return _gate(job, gain=-0.1)


def _gate(job: dict[str, Any], *, gain: float = 0.5) -> int:
    before, after = job["served_version"], f"{job['job_id']}.{job['attempt']}@2"
    path = Path(job["attempt_dir"]) / "evaluation.jsonl"
    row = {"question_id": "1", "solution": "s", "text": "t", "r_ss": -1.0}
    row |= {"r_kl": 0.0, "format": 0.0, "length": 1, "closed": True, "verbatim": False}
    rows = [
        row | {"version": version, "question": question, "reward": reward}
        for version, reward in ((before, -1.5), (after, -1.5 + gain))
        for question in ("q", "r")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    difference = {"mean": 9.0, "ci_low": 8.0, "ci_high": 10.0, "n": 900}  # no such thing: the rows say what is
    _emit(
        job,
        type="evaluation",
        path=str(path),
        student=job["student_version"],
        format=job["format_id"],
        before=before,
        after=after,
        metrics={before: {"reward": -1.5}, after: {"reward": -1.0}},
        difference=difference,
        difference_r_ss=difference,
    )
    return _ok(job)


def _crash(job: dict[str, Any]) -> int:
    print(f"about to crash in attempt {job['attempt']}", flush=True)  # noqa: T201 - what the log holds
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def _saved(job: dict[str, Any]) -> int:
    """Tell of two checkpoints, and end badly."""
    for step in (2, 4):
        path = f"{job['attempt_dir']}/checkpoints/step-{step}"
        _emit(job, type="checkpoint", step=step, path=path, manifest_sha256=f"{step}" * 64)
    return _crash(job)


def _saves(job: dict[str, Any]) -> int:
    """Save whole checkpoints, one after the other, until the disk takes no more."""
    step = 0
    try:
        while True:
            step += 1
            folder = Path(job["attempt_dir"]) / "checkpoints" / f"step-{step}"
            part = folder.with_name(f".step-{step}.part")
            part.mkdir(parents=True)
            (part / "state.pt").write_bytes(bytes(256 * 1024))
            digest = hashlib.sha256(bytes(256 * 1024)).hexdigest()
            manifest = json.dumps({"files": {"state.pt": {"size": 256 * 1024, "sha256": digest}}}).encode()
            (part / "manifest.json").write_bytes(manifest)
            part.rename(folder)
            sha256 = hashlib.sha256(manifest).hexdigest()
            _emit(job, type="checkpoint", step=step, path=str(folder), manifest_sha256=sha256)
            time.sleep(0.05)
    except OSError as error:
        print(f"stub trainer: {error}", flush=True)  # noqa: T201 - what the log holds
        return EXIT_DISK_FULL


def _hang(job: dict[str, Any]) -> int:
    _emit(job, type="progress", step=1, total=2)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    while True:
        time.sleep(0.05)


def _mute(job: dict[str, Any]) -> int:
    del job
    time.sleep(600.0)
    return 0


def _chatty(job: dict[str, Any]) -> int:
    """Take longer than a silence may last, by turns with a line of the log and with an event."""
    for turn in range(5):
        time.sleep(0.5)
        if turn % 2:
            print(f"turn {turn}", flush=True)  # noqa: T201 - what the log holds
        else:
            _emit(job, type="log", message=f"turn {turn}")
    return _ok(job)


def _stubborn(job: dict[str, Any]) -> int:
    """Ignore SIGTERM, and leave an orphan in a session of its own, as elastic launchers do."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    orphan = "import os,time\nif os.fork() == 0:\n os.setsid()\n print(os.getpid(), flush=True)\n time.sleep(600)"
    reader, writer = os.pipe()
    subprocess.Popen([sys.executable, "-c", orphan], stdout=writer).wait()
    pid = int(os.read(reader, 64))
    with (Path(job["attempt_dir"]) / "pids").open("a") as file:
        file.write(f"{pid}\n")
    _emit(job, type="progress", step=1, total=2)
    while True:
        time.sleep(0.05)


def _nothing(job: dict[str, Any]) -> int:
    del job
    return 0


def _say_error(job: dict[str, Any]) -> int:
    """Any other name is an error's code; `CODE-retryable` says that another attempt may help."""
    name: str = job["spec"]["name"]
    code = name.removesuffix("-retryable")
    _emit(job, type="error", code=code, message=f"it was {code}", retryable=name.endswith("-retryable"))
    return 1


def _emit(job: dict[str, Any], **event: Any) -> None:
    with Path(job["events_path"]).open("a") as file:
        file.write(json.dumps({"at": datetime.now(tz=UTC).isoformat(), **event}) + "\n")


def _end_with_the_supervisor() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(EXIT_LEASE_LOST)


if __name__ == "__main__":
    sys.exit(main())
