"""Own which kinds of job need the services alone. Importing this imports no torch: such a job starts in a second."""

from collections.abc import Callable

from rlt_core.schemas.jobs import JobKind
from rlt_core.schemas.trainer import CollectedEvent, EvaluatedEvent
from rlt_train.collecting.run import run_collect
from rlt_train.evaluating.run import run_evaluate
from rlt_train.service_context import ServiceContext

SERVICE_KINDS: dict[JobKind, Callable[[ServiceContext], CollectedEvent | EvaluatedEvent]] = {
    "collect": run_collect,
    "evaluate": run_evaluate,
}
