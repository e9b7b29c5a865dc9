"""A control service in process on the fake engine and a real store, and what its tests lay into it."""

import contextlib
import json
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from starlette.testclient import TestClient

from rlt_core.artifacts import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_sha256
from rlt_core.comparison import evaluation_of
from rlt_core.schemas.base import Role, now_utc
from rlt_core.schemas.jobs import JOB_SPEC, Job
from rlt_core.schemas.teachers import EvaluationRow
from rlt_service.app import create_app
from rlt_service.container import Services
from rlt_service.engine.protocol import Engine, Weights
from rlt_service.settings import Settings
from rlt_service.store.registry import Candidate
from tests.engine.model_files import write_model
from tests.support.schema import lay_schema
from tests.support.waiting import wait_until

ROWS = [{"question": f"{a} + 1?", "solution": str(a + 1), "reasoning_trace": f"One more than {a}."} for a in range(10)]
JSONL = {"Content-Type": "application/jsonl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The app as its callers and its stores see it."""

    http: TestClient
    services: Services

    def upload(self, rows: Iterable[dict[str, Any]] = ROWS, *, headers: dict[str, str] | None = None) -> str:
        body = "".join(json.dumps(row) + "\n" for row in rows)
        answer = self.http.post("/v1/datasets", content=body, headers=JSONL | (headers or {}))
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def import_folder(self, name: str, *, seed: int = 0, rank: int = 4) -> Path:
        """Lay an adapter where an operator would."""
        return write_adapter(self.services.artifacts.root / "imports" / name, seed=seed, rank=rank)

    def import_model(self, name: str, *, seed: int = 0) -> Path:
        """Lay a fully trained model where an operator would."""
        return write_model(self.services.artifacts.root / "imports" / name, seed=seed)

    def version(self, name: str, *, role: Role = "teacher", seed: int = 0, **foreign: str) -> str:
        """Register an adapter as the next version of a name, past the routes; `foreign`: base, format, parent."""
        folder = self.import_folder(f"{name}-{seed}", seed=seed)
        base = self.services.registry.base()
        made = self.services.registry.register(
            Candidate(
                name=name,
                role=role,
                base_model=foreign.get("base_model", base.base_model),
                format=foreign.get("format", base.format),
                parent=foreign.get("parent"),
                folder=folder,
                sha256=adapter_sha256(folder),
                lora_rank=4,
            )
        )
        return made.version

    def evaluation(
        self,
        *,
        before: str,
        after: str,
        gain: float,
        closed: tuple[float, float] = (1.0, 1.0),
        student: str | None = None,
        format_id: str | None = None,
        engine: str = "fake",
    ) -> str:
        """Store a comparison on 30 questions; `gain` in reward on each, `closed` shares of both versions."""
        base = self.services.registry.base()
        rows = [
            evaluation_row(version=version, number=number, reward=reward, closed=number < share * 30, engine=engine)
            for version, reward, share in ((before, -1.0, closed[0]), (after, -1.0 + gain, closed[1]))
            for number in range(30)
        ]
        found = evaluation_of(
            rows,
            before=before,
            after=after,
            student=student or base.version,
            format=format_id or base.format,
            created_at=now_utc(),
        )
        self.services.registry.save_evaluation(found, rows)
        return found.id

    def alias(self, role: Role, alias: str) -> str:
        return self.services.registry.get_alias(role, alias).version

    def job(self, **fields: Any) -> Job:
        """Store a job, past the routes; it names a dataset that need not exist."""
        spec = {"kind": "rl", "dataset": "ds_" + "0" * 20, "target_name": "made", **fields}
        return self.services.jobs.submit(JOB_SPEC.validate_python(spec))

    def running_job(self, **fields: Any) -> Job:
        """Store a job and claim it, as a worker would."""
        job = self.job(priority=100, **fields)
        claimed = self.services.jobs.claim(queue="train", worker="test")
        assert claimed is not None
        assert claimed.job.id == job.id
        return claimed.job


@contextlib.contextmanager
def control_app(
    home: Path, *, make_engine: Callable[[Weights], Engine] | None = None, **settings: Any
) -> Generator[Control]:
    """Start the app with its state under `home`."""
    more: dict[str, Any] = {"allowed_hosts": ("*",), **settings}
    given = Settings(home=home, engine="fake", broker_url="memory://", **more)
    if given.database_url is None:
        lay_schema(home)
    app = create_app(given, make_engine=make_engine)
    with TestClient(app, raise_server_exceptions=False) as http:
        wait_until(lambda: http.get("/readyz").status_code == 200, what="the app is ready")
        yield Control(http=http, services=app.state.services)


def evaluation_row(
    *, version: str, number: int, reward: float, closed: bool = True, engine: str = "fake"
) -> EvaluationRow:
    """Make the row of one question."""
    return EvaluationRow(
        question_id=str(number),
        question=f"{number} + 1?",
        solution=str(number + 1),
        version=version,
        text="One more.",
        reward=reward,
        r_ss=reward,
        r_kl=0.0,
        format=0.0,
        length=3,
        closed=closed,
        verbatim=False,
        engine=engine,
    )


def write_adapter(folder: Path, *, seed: int = 0, rank: int = 4, width: int = 8) -> Path:
    """Write a small LoRA adapter as PEFT lays it out."""
    folder.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(seed)
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {
        f"{prefix}.lora_A.weight": dice.normal(size=(rank, width)).astype(np.float32),
        f"{prefix}.lora_B.weight": dice.normal(size=(width, rank)).astype(np.float32),
    }
    save_file(tensors, folder / ADAPTER_WEIGHTS)
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none"}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config))
    return folder


def check_problem(answer: Any, status: int, code: str, param: str | None = None) -> dict[str, Any]:
    """Assert that an answer is the problem that is meant, and give its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["code"], body["param"]) == (code, param), body["detail"]
    return body
