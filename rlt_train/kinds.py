"""Own which kinds of job a trainer runs. Importing this imports torch."""

from collections.abc import Callable

from rlt_core.schemas.jobs import JobKind
from rlt_core.schemas.trainer import ResultEvent
from rlt_train.context import JobContext
from rlt_train.rl import run_rl
from rlt_train.rlvr import run_rlvr
from rlt_train.warmup import run_warmup

KINDS: dict[JobKind, Callable[[JobContext], ResultEvent]] = {
    "warmup": run_warmup,
    "rl": run_rl,
    "distill": run_warmup,
    "rlvr": run_rlvr,
}
