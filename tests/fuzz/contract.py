"""Own one fuzzing of the whole OpenAPI file: what is drawn, what each answer is held against, what came of it.

The app is the real one, in process, on the fake engine; schemathesis draws the calls.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.engine import events, from_schema
from schemathesis.hooks import unregister
from schemathesis.python.asgi import shutdown_lifespans

from rlt_core.errors import EngineUnavailableError
from rlt_service.control.upload import JSONL_TYPES
from rlt_service.idempotency import KEY_PATTERN, REPLAYED
from tests.fuzz.seeds import Seeds, lay_seeds
from tests.support.control import Control, control_app
from tests.support.service import make_app
from tests.support.waiting import wait_until

KEY, TIME = "Idempotency-Key", "X-Request-Timeout-Ms"
UNKNOWN_HEADER = "x-schemathesis-unknown-property"
BATCHES = ("/v1/explain/batch", "/v1/score/batch", "/v1/solve/batch")
TIMED = ("/v1/explain", "/v1/score", "/v1/solve", "/v1/chat/completions", "/v1/train", *BATCHES)
PHASES = ("examples", "coverage", "fuzzing", "stateful")
NO_FAULT = ["2xx", "3xx", "4xx"]


@dataclass(slots=True)
class OperationRecord:
    """What came of all calls of one operation."""

    takes_input: bool = False
    """Whether one call can differ from another."""
    calls: int = 0
    linked: int = 0
    """Those among them that went on from what another call answered."""
    statuses: dict[int, int] = field(default_factory=lambda: defaultdict[int, int](int))
    failures: dict[str, str] = field(default_factory=dict[str, str])
    """Once for each kind: what was wrong, and the call as a command."""
    seconds: list[float] = field(default_factory=list[float])

    @property
    def server_errors(self) -> int:
        """Count answers that no caller should see."""
        return sum("Server error" in title for title in self.failures)


TEXTS = st.text(max_size=30)
ROW = st.fixed_dictionaries({"question": TEXTS, "solution": TEXTS}, optional={"id": TEXTS, "answer": TEXTS, "x": TEXTS})
GOOD_ROW = ROW.map(lambda row: row | {"question": f"How? {row['question']}", "solution": f"So: {row['solution']}"})
GOOD_LINES = st.lists(GOOD_ROW.map(lambda row: json.dumps(row).encode()), min_size=1, max_size=4)
LINES = GOOD_LINES | st.lists(st.binary(max_size=40) | ROW.map(lambda row: json.dumps(row).encode()), max_size=4)
schemathesis.serializer(*JSONL_TYPES)(lambda _, body: body if isinstance(body, bytes) else str(body).encode())
for media_type in JSONL_TYPES:
    schemathesis.openapi.media_type(media_type, LINES.map(b"\n".join))


MakeKey = Callable[[Control], str]
Records = dict[str, OperationRecord]


def fuzz_contract(
    home: Path,
    *,
    seed: int,
    examples: int,
    phases: Sequence[str] = PHASES,
    only: Collection[str] = (),
    keyed: MakeKey | None = None,
    **settings: Any,
) -> Records:
    """Fuzz every operation with about `examples` calls each drawn at random, beside those that bounds make.

    `only` names operations, as `POST /v1/train`; nothing is all of them.
    `keyed` stores a key when all else is there, and gives it: it goes with every call. None is a server without keys.
    """
    with control_app(home, **settings) as control:
        seeds = lay_seeds(control)
        key = keyed(control) if keyed is not None else ""
        headers = {"headers": {"Authorization": f"Bearer {key}"}} if key else {}
    app = make_app(home, **settings)
    config = SchemathesisConfig.from_dict(
        _config(seeds, seed=seed, examples=examples, phases=phases, only=only) | headers
    )
    records: Records = defaultdict(OperationRecord)
    stays = schemathesis.hook(_key_that_stays(key))  # of all schemas: one has no hook for calls as they are sent
    try:
        schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
        wait_until(lambda: _is_ready(app), what="the engine is ready")
        schema.hook(_headers_of_their_own())
        schema.hook(filter_failure)
        for event in from_schema(schema).execute():
            _note(event, records)
    finally:
        unregister(stays)
        shutdown_lifespans()
    return dict(records)


def _headers_of_their_own() -> Callable[[Any, Any], Any]:
    """Give most calls a key of their own and time enough.

    Few keys and deadlines are drawn (the shortest of each, above all): nearly all calls would be refused for a key that
    another call had, or end at the deadline of a millisecond. Every eighth call keeps what was drawn.
    """
    numbers = count(1)

    def map_case(context: Any, case: Any) -> Any:
        number, key, time = next(numbers), case.headers.get(KEY), str(case.headers.get(TIME))
        if number % 8 == 0 and case.method == case.operation.method.upper():
            return case
        if isinstance(key, str) and re.fullmatch(KEY_PATTERN, key):
            case.headers[KEY] = f"{key[:200]}-{number}"
        if time.isdecimal() and 1 <= int(time) <= 2**53:
            case.headers[TIME] = "60000"
        return case

    return map_case


def _key_that_stays(own: str) -> Callable[[Any, Any, Any], Any]:
    """Let no call revoke the key that goes with all: later ones would be 401. A list of keys tells its id."""

    def before_call(context: Any, case: Any, kwargs: Any) -> None:
        if own and case.path_parameters.get("key_id") == own.split("_")[1]:
            case.path_parameters["key_id"] = "0" * len(own.split("_")[1])

    return before_call


def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Drop findings that a header was not refused which is passed over.

    One of no meaning here: HTTP wants it so (RFC 9110, 5.1). A deadline of a call that has its answer: whoever sends a
    call again with its key gets the first answer, without any work that a deadline could end.
    """
    is_replayed = REPLAYED.lower() in response.headers
    return not (isinstance(failure, AcceptedNegativeData) and (UNKNOWN_HEADER in case.headers or is_replayed))


def _is_ready(app: Any) -> bool:
    try:
        return app.state.services.engine is not None
    except EngineUnavailableError:
        return False


def _config(seeds: Seeds, *, seed: int, examples: int, phases: Sequence[str], only: Collection[str]) -> dict[str, Any]:
    found = {"datasets": seeds.datasets, "jobs": seeds.jobs, "evaluations": seeds.evaluations, "names": seeds.names}
    found |= {"aliases": seeds.aliases, "versions": seeds.versions}
    # What hypothesis draws by itself depends on the modules that are loaded: among tests it drew no good template once.
    found |= {"templates": ("{}", '{"solution": "So: {solution}"}'), "encodings": ("identity",)}
    often = {
        "path.dataset_id": "datasets",
        "path.job_id": "jobs",
        "path.evaluation_id": "evaluations",
        "path.name": "names",
        "path.alias": "aliases",
        "query.columns": "templates",
        "header.content-encoding": "encodings",
        "body.dataset": "datasets",
        "body.teacher": "versions",
        "body.student": "versions",
        "body.version": "versions",
        "body.expected": "versions",
        "body.evaluation": "evaluations",
    }
    return {
        "seed": seed,
        # Nothing is kept from one run to the next: a seed alone says what is drawn.
        "cache": {"enabled": False},
        "generation": {"max-examples": examples, "deterministic": True, "database": "none"},
        "continue-on-failure": True,
        "max-stream-events": 20,
        "request-timeout": 30,
        "phases": {name: {"enabled": name in phases} for name in PHASES},
        "dictionaries": {name: {"values": list(values)} for name, values in found.items()},
        "parameters": {place: {"dictionary": name, "probability": 0.6} for place, name in often.items()},
        "checks": CHECKS,
        "operations": EXCEPTIONS + [{"exclude-name": list(only), "enabled": False}] * bool(only),
    }


CHECKS: dict[str, Any] = {
    # A schema cannot say which names exist, that a prompt fits, or that a job's state allows the call: much that is
    # of the right form is refused, with a reason.
    "positive_data_acceptance": {"enabled": False},
}
EXCEPTIONS: list[dict[str, Any]] = [
    # The example is bytes to schemathesis, which has no way to send it; LINES draws such rows.
    {"include-path": "/v1/datasets", "phases": {"examples": {"enabled": False}}},
    # The deadline that a call may set passes: 504, as asked for. That nothing else does is test_deadlines.py.
    {"include-path": list(TIMED), "checks": {"not_a_server_error": {"expected-statuses": [*NO_FAULT, 504]}}},
    # An item that is wrong in itself fails alone, in an answer of 200.
    {"include-path": list(BATCHES), "checks": {"negative_data_rejection": {"enabled": False}}},
]


def _note(event: Any, records: Records) -> None:
    if isinstance(event, events.NonFatalError):
        records[event.label].failures["not fuzzed"] = repr(event.value)
    elif isinstance(event, events.FatalError):
        raise event.exception
    elif isinstance(event, events.ScenarioFinished):
        for case_id, interaction in event.recorder.interactions.items():
            operation = event.recorder.cases[case_id].value.operation
            record = records[operation.label]
            record.takes_input = bool({"parameters", "requestBody"} & operation.definition.raw.keys())
            record.calls += 1
            record.linked += event.recorder.cases[case_id].parent_id is not None
            if interaction.response is None:
                record.failures["no answer"] = f"{interaction.request.method} {interaction.request.uri}"
                continue
            record.statuses[interaction.response.status_code] += 1
            record.seconds.append(interaction.response.elapsed)
        for case_id, title, told in _failures(event.recorder):
            record = records[event.recorder.cases[case_id].value.operation.label]
            record.failures.setdefault(title, told)


def _failures(recorder: Any) -> Iterator[tuple[str, str, str]]:
    for case_id, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                yield case_id, failure.title, f"{failure.message}\n{check.failure_info.code_sample}"
