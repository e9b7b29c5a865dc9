"""Own every setting of the service: environment variables named RLT_*, each with its unit, range and default."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from rlt_core.addresses import check_addresses, text_of
from rlt_core.log_records import LogFormat
from rlt_core.schemas.base import Name, Role
from rlt_core.schemas.jobs import QUEUE, StepKind
from rlt_core.spans import STANDARD_VARIABLE
from rlt_service.engine_layout import EngineLayout
from rlt_service.store.job_rules import JobRules


def setting_of(place: Sequence[int | str]) -> str:
    """Name the variable that a fault of settings is in, and where in its value."""
    return "/".join([f"RLT_{place[0]}".upper(), *map(str, place[1:])])


class SourceSettings(BaseModel):
    """Where a source answers, and which variable of a worker's environment holds its key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = Field(pattern=r"^https?://[^\s]+$")
    """What `/chat/completions` is added to."""
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]{0,63}$")
    """Null: it wants none."""


class Settings(BaseSettings):
    """Settings of one process; every default works on a laptop."""

    model_config = SettingsConfigDict(env_prefix="RLT_", extra="ignore", use_attribute_docstrings=True)

    home: Path = Path.home() / ".rlt"
    """State folder: database, broker, artifacts, converted models, logs. Nothing is written elsewhere."""
    host: str = "127.0.0.1"
    """Address to listen on; only loopback until there are keys (`rlt keys create`)."""
    port: int = Field(default=8400, ge=0, le=65535)
    """0 takes a free one."""
    allowed_hosts: tuple[str, ...] | None = None
    """Names by which callers may address the server (the Host header), `*` for any; null is the names of loopback where
    it listens there, else any. Addresses in figures are always allowed."""
    roles: tuple[Role | Literal["control"], ...] = ("teacher", "student", "control")
    """What this process plays."""
    database_url: str | None = None
    """SQLAlchemy URL; null is SQLite under the state folder."""
    broker_url: str | None = None
    """Redis or Valkey URL; null is an embedded Valkey under the state folder."""
    artifact_store: str = ""
    """Where machines share datasets and versions, as an fsspec URL (`s3://bucket/rlt`, `file:///mnt/rlt`); each then
    has its own RLT_HOME/artifacts. Empty: that folder is the one that all share."""
    dashboard: Literal["auto", "on", "off"] = "auto"
    """The dashboard at `/`. auto: where this process plays control and the extra `[dashboard]` is installed."""
    service_url: str | None = None
    """Where trainers and supervisors reach this service; null is this process's own address. Several, parted by
    commas, are replicas that callers choose from, each with what it plays, as
    `teacher+control=http://a:8400,student=http://b:8400`; without, it plays all."""

    engine: Literal["vllm", "fake"] = "vllm"
    """`fake` is a deterministic double for tests; every answer names it."""
    base_model: str = "builtin:smollm2-135m"
    """A local folder (config.json, *.safetensors, tokenizer.json), a builtin, or `hub:OWNER/NAME@COMMIT`."""
    student_model: str | None = None
    """Another base for students, as `base_model`, with an engine of its own; null is the same engine for both."""
    base_name: str | None = None
    """The base's name as a version (`name@0`); null derives it from the model."""
    format: str = "stratos@1"
    """The tags and instructions in use."""
    max_model_len: int = Field(default=2048, ge=64, le=1_048_576)
    """Longest sequence in tokens, capped by the model."""
    max_batched_tokens: int | None = Field(default=None, ge=16, le=1_048_576)
    """Tokens of one engine step; longer prompts are computed in parts. Null leaves it to vLLM (2048 on CPUs)."""
    max_loras: int = Field(default=4, ge=1, le=64)
    """Adapters that one engine batch can hold."""
    max_loaded_adapters: int = Field(default=16, ge=1, le=4096)
    """Adapters kept in memory, never fewer than `max_loras`; beyond them the one that was idle longest gives way."""
    max_lora_rank: int = Field(default=64, ge=1, le=512)
    """Largest LoRA rank that the engine takes."""
    kv_cache_gib: float = Field(default=1.0, gt=0.0, le=1024.0)
    """Room for keys and values on a CPU, GiB."""
    max_full_engines: int = Field(default=2, ge=1, le=64)
    """Fully trained versions in memory at once, each with an engine as large as the base's."""
    teacher_engine: EngineLayout = EngineLayout()
    """How the teacher's engine lies on GPUs, in vLLM's names, as {"tensor_parallel_size": 4, "gpu_memory_utilization":
    0.8}; what is left out is one GPU (docs/how-to/gpus.md)."""
    student_engine: EngineLayout | None = None
    """The same for the student's engine, where it has one of its own (`student_model`, or a process that does not play
    the teacher); null is as the teacher's."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: float32 on CPUs, where scores are exact to 1e-4, bfloat16 on GPUs."""
    scoring_math: Literal["exact", "fast"] = "exact"
    """On CPUs in float32. exact: log-probs within 1e-4 of transformers; fast: the body by vLLM's kernels."""
    engine_patience_s: float = Field(default=60.0, ge=0.5, le=3600.0)
    """An engine that gives no sign of life this long counts as hung, and is killed and started again (seconds)."""
    engine_stats: bool = False
    """Have vLLM count its own figures, which tells how full its cache is (`rlt_engine_cache_use_ratio`) and costs a
    little of each step."""

    max_running: int | None = Field(default=None, ge=1, le=4096)
    """Sequences generated at a time, the rest waits fairly by call; null is 32 on a CPU, 256 on a GPU."""
    max_scoring_tokens: int = Field(default=49_152, ge=64)
    """Tokens of sequences scored at a time, the rest waits fairly by call; a group of 64 of 480 tokens fits at once."""

    lease_s: float = Field(default=30.0, gt=0.2, le=3600.0)
    """A job whose heartbeat stands still this long goes back to the queue (watcher's monotonic clock)."""
    heartbeat_s: float = Field(default=5.0, gt=0.02, le=600.0)
    """Seconds between heartbeats of a supervisor; at most a third of `lease_s`."""
    reconcile_s: float = Field(default=10.0, gt=0.02, le=600.0)
    """Seconds between rounds of the reconciler."""
    cancel_grace_s: float = Field(default=20.0, ge=0.0, le=600.0)
    """Between SIGTERM and SIGKILL of a trainer."""
    max_crashes: int = Field(default=3, ge=1, le=100)
    """Crashes in a row without progress that end a job."""
    trainer_silence_s: float | None = Field(default=None, ge=1.0, le=604_800.0)
    """A trainer that lives and for this long adds neither an event nor a line to its log counts as crashed; null waits
    for ever. More than the longest step and the half hour for which a trainer may wait for a service."""
    sources: dict[Name, SourceSettings] = Field(default_factory=dict[Name, SourceSettings])
    """OpenAI-compatible endpoints outside that a collect may ask, by name, as {"deepseek": {"base_url":
    "https://api.example/v1", "api_key_env": "DEEPSEEK_API_KEY"}}: callers choose a name, never an address or a key."""
    queues: dict[StepKind, Annotated[str, Field(min_length=1, max_length=40)]] = Field(
        default_factory=dict[StepKind, str]
    )
    """Where a kind of job waits that needs other machines than the rest, as {"rl": "gpu"}; all else is `train`."""
    worker_queues: tuple[str, ...] = Field(default=(QUEUE,), min_length=1)
    """Queues that a worker of this process's machine hears."""
    max_running_jobs: dict[StepKind, Annotated[int, Field(ge=1)]] = Field(default_factory=dict[StepKind, int])
    """How many jobs of a kind run at once, as {"rl": 1}; a kind that is not named has no limit but the workers."""
    log_format: LogFormat = "text"
    """`json`: a record a line, with job, attempt, step and request id, from servers, workers and trainers alike."""
    otlp_endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    """Collector that traces are sent to, by OTLP over HTTP, as `http://collector:4318`; needs `rlt[observe]`. Null is
    OTEL_EXPORTER_OTLP_ENDPOINT, or none."""
    trainer_command: tuple[str, ...] = ()
    """What a worker starts for a job, `--job FILE` added; empty is `rlt_train` in this interpreter."""

    max_body_bytes: int = Field(default=64 * 2**20, ge=1024)
    """Largest request body, datasets apart."""
    max_small_body_bytes: int = Field(default=2**20, ge=1024)
    """Largest request body of a key without the scope train."""
    max_body_s: float = Field(default=120.0, gt=0.0, le=3600.0)
    """Longest that a JSON body may take to come, seconds; after it 408 and the connection is closed."""
    max_dataset_bytes: int = Field(default=2**30, ge=1024)
    """Largest dataset upload."""
    max_open_multipart_bytes: int = Field(default=64 * 2**20, ge=1024)
    """Largest multipart upload of a dataset on a server without keys: a web page can have a browser send one."""
    max_dataset_rows: int = Field(default=1_000_000, ge=1)
    """Most rows of a dataset."""
    max_json_depth: int = Field(default=32, ge=4, le=256)
    """Deepest nesting of a JSON body."""
    max_text_characters: int = Field(default=1_000_000, ge=100)
    """Longest question, solution or explanation, checked before tokenising."""
    max_queued_requests: int = Field(default=4096, ge=1)
    """Engine requests in hand before /explain and /score answer 429."""
    max_queued_tokens: int = Field(default=4_194_304, ge=64)
    """Tokens of engine requests in hand, prompt and longest completion, before /explain and /score answer 429."""
    max_connections: int = Field(default=8192, ge=2)
    """Open connections, idle ones too, before further ones are answered 503 at once."""
    max_request_timeout_s: float = Field(default=3600.0, gt=0.0, le=86_400.0)
    """Longest that a call of /explain or /score may take, seconds; X-Request-Timeout-Ms asks for less."""
    audit_days: float = Field(default=365.0, gt=0.0, le=36_500.0)
    """How long the audit log keeps an entry, days."""
    max_shadow_pairs: int = Field(default=1000, ge=2, le=10_000)
    """Pairs of answers that an alias's shadow keeps, the newest ones."""
    drain_grace_s: float = Field(default=30.0, ge=0.0, le=3600.0)
    """How long in-flight requests may finish on SIGTERM."""

    @field_validator("service_url")
    @classmethod
    def _names_everybody(cls, service_url: str | None) -> str | None:
        return None if service_url is None else text_of(check_addresses(service_url))

    @field_validator("heartbeat_s")
    @classmethod
    def _beats_in_time(cls, heartbeat_s: float, info: ValidationInfo) -> float:
        lease_s: float = info.data.get("lease_s", 3600.0)  # not there: it was refused itself
        longest_s = lease_s / 3 + 1e-9  # 0.1 is a third of 0.3
        if heartbeat_s > longest_s:
            shorter_s, longer_s = math.floor(longest_s * 100) / 100, 3 * heartbeat_s
            raise ValueError(
                f"a lease of {lease_s:g} s (RLT_LEASE_S) must hold three beats, or each job would lose it: set "
                f"RLT_HEARTBEAT_S to {shorter_s:g} or less, or RLT_LEASE_S to {longer_s:g} or more"
            )
        return heartbeat_s

    @property
    def job_rules(self) -> JobRules:
        """What the store of jobs goes by."""
        return JobRules(max_crashes=self.max_crashes, queues=self.queues, max_running=self.max_running_jobs)

    @property
    def traces_to(self) -> str:
        """Where spans are sent; empty: nowhere."""
        return self.otlp_endpoint or os.environ.get(STANDARD_VARIABLE) or ""

    @property
    def database(self) -> str:
        """The SQLAlchemy URL in use."""
        return self.database_url or f"sqlite:///{self.home / 'rlt.db'}"

    @property
    def artifacts(self) -> Path:
        """Root of datasets, adapters and job folders; shared between hosts where there are several."""
        return self.home / "artifacts"
