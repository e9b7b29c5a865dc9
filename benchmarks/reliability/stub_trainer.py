"""A trainer without a model, for faults in large numbers: steps that take time, checkpoints, a resume.

It keeps the contract of rlt_core.schemas.trainer with the standard library alone, so that thousands can be started.
The job's name says what it does: `steps=5 step_s=0.1`, with `stubborn` it ignores SIGTERM and leaves an orphan.
An `rl` job also brings a comparison with the teacher that it would have started from.
"""

import hashlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from datetime import datetime, timezone

EXIT_LEASE_LOST, EXIT_STOPPED = 75, 143


class Stub:
    """One attempt."""

    def __init__(self, job: "dict[str, object]", template: str, sha256: str) -> None:
        self.job, self.template, self.sha256 = job, template, sha256
        self.folder = str(job["attempt_dir"])
        words = str(job["spec"]["name"]).split()  # type: ignore[index]
        self.wanted = dict(word.split("=") for word in words if "=" in word)
        self.is_stubborn = "stubborn" in words
        self.stopping = False

    def run(self) -> int:
        """Go on where the newest checkpoint that is whole ends."""
        self._note_pid(os.getpid())
        if self.is_stubborn:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            self._leave_an_orphan()
        else:
            signal.signal(signal.SIGTERM, self._stop)
        steps, step_s = int(self.wanted.get("steps", "2")), float(self.wanted.get("step_s", "0"))
        for step in range(self._resume_step() + 1, steps + 1):
            self.emit(type="progress", step=step, total=steps, metrics=self.work(step, step_s))
            self._save(step)
            if self.stopping:
                return EXIT_STOPPED
        if self.job["kind"] == "rl":
            self._compare()
        target = f"{self.folder}/adapter"
        shutil.copytree(self.template, target)
        self.emit(
            type="result",
            adapter_dir=target,
            sha256=self.sha256,
            lora_rank=16,
            base_model=self.job["base_model"],
            steps=steps,
            cost={"total_s": steps * step_s},
        )
        return 0

    def work(self, step: int, step_s: float) -> "dict[str, float]":
        """Take a step's time; gives its metrics."""
        time.sleep(step_s)
        return {"loss": 1.0 / step}

    def _compare(self) -> None:
        """Compare on two questions, which is the least, as if the service had answered."""
        before, after = str(self.job["teacher_version"]), f"{self.job['job_id']}.{self.job['attempt']}@0"
        row = {"question_id": "1", "solution": "s", "text": "t", "reward": -1.0, "r_ss": -1.0, "r_kl": 0.0}
        row |= {"format": 0.0, "length": 1, "closed": True, "verbatim": False, "engine": "fake"}
        path = f"{self.folder}/evaluation.jsonl"
        with open(path, "w", encoding="utf-8") as file:
            for version in (before, after):
                for question in ("q", "r"):
                    file.write(json.dumps({**row, "version": version, "question": question}) + "\n")
        self.emit(
            type="evaluation",
            path=path,
            student=self.job["student_version"],
            format=self.job["format_id"],
            before=before,
            after=after,
            metrics={},
        )

    def emit(self, **event: object) -> None:
        """Say something to the supervisor."""
        self._append(str(self.job["events_path"]), json.dumps({"at": datetime.now(timezone.utc).isoformat(), **event}))  # noqa: UP017 - runs on any Python

    def _save(self, step: int) -> None:
        target, partial = f"{self.folder}/checkpoints/step-{step}", f"{self.folder}/checkpoints/.step-{step}.part"
        os.makedirs(partial)
        content = f"state after step {step}".encode()
        with open(f"{partial}/state", "wb") as file:
            file.write(content[:3])
            file.flush()
            time.sleep(float(self.wanted.get("save_s", "0")))
            file.write(content[3:])
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
        self.emit(type="checkpoint", step=step, path=target, manifest_sha256=hashlib.sha256(content).hexdigest())
        self._remove_old()

    def _remove_old(self) -> None:
        """Keep, as the trainer does, the newest two checkpoints that the database knows, and all that is newer."""
        try:
            with open(f"{self.folder}/stored-step", encoding="utf-8") as file:
                stored = int(file.read())
        except OSError:
            return
        steps = sorted(int(name[5:]) for name in os.listdir(f"{self.folder}/checkpoints") if name.startswith("step-"))
        for step in [step for step in steps if step <= stored][:-2]:
            shutil.rmtree(f"{self.folder}/checkpoints/step-{step}", ignore_errors=True)

    def _resume_step(self) -> int:
        points: list[dict[str, object]] = self.job["resume_points"]  # type: ignore[assignment]
        for point in points:
            try:
                with open(f"{point['folder']}/state", "rb") as file:
                    if hashlib.sha256(file.read()).hexdigest() == point["manifest_sha256"]:
                        return int(str(point["step"]))
            except OSError:
                continue
        return 0

    def _leave_an_orphan(self) -> None:
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(writer, str(os.getpid()).encode())
                time.sleep(600)
            os._exit(0)
        os.wait()
        self._note_pid(int(os.read(reader, 64)))

    def _note_pid(self, pid: int) -> None:
        self._append("pids", str(pid))

    def _append(self, name: str, line: str) -> None:
        with open(os.path.join(self.folder, name), "a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _stop(self, *_: object) -> None:
        self.stopping = True


def watch_the_supervisor(lease_s: float) -> None:
    """End when the supervisor has been silent for a lease, or is gone."""
    import select

    while select.select([0], [], [], lease_s)[0] and os.read(0, 4096):
        pass
    os._exit(EXIT_LEASE_LOST)


def main(kind: "type[Stub]" = Stub) -> int:
    """Run `stub_trainer.py TEMPLATE SHA256 --job FILE`."""
    template, sha256, _, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    threading.Thread(target=watch_the_supervisor, args=(float(job["lease_s"]),), daemon=True).start()
    return kind(job, template, sha256).run()


if __name__ == "__main__":
    sys.exit(main())
