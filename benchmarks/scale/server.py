"""`python -m benchmarks.scale.server --port PORT --roles ROLES`: the server on a fake engine that takes measured times.

All settings come from RLT_* but those on the command line. `RLT_SCALE_AT_WORK`: how many sequences an engine's steps
are as long as; 0 is an engine that takes no time, so that all that is left is the server's own.
"""

import os
import sys

from benchmarks.scale.service_time import measured
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import Weights
from rlt_service.serve import checked, serve
from rlt_service.settings import Settings

AT_WORK_VARIABLE = "RLT_SCALE_AT_WORK"


def main() -> int:
    """Serve until asked to end."""
    at_work = int(os.environ.get(AT_WORK_VARIABLE, "0"))
    time_of = measured()

    def make_engine(weights: Weights) -> FakeEngine:
        if at_work == 0:
            return FakeEngine(FakeOptions(weights=weights))
        return FakeEngine(
            FakeOptions(
                weights=weights,
                completion_s=lambda tokens: time_of.explain_s(tokens, at_work=at_work),
                score_s=time_of.score_s,
            )
        )

    words = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    settings = Settings(port=int(words["--port"]), roles=tuple(words["--roles"].split(",")))  # pyright: ignore[reportArgumentType] - checked by pydantic
    return serve(checked(settings), make_engine=make_engine)


if __name__ == "__main__":
    sys.exit(main())
