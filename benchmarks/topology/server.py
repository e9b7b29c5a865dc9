"""`python -m benchmarks.topology.server`: the server on a fake engine that takes a moment, so that calls are in flight.

All settings come from RLT_* but those on the command line.
"""

import sys

from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import Weights
from rlt_service.serve import checked, serve
from rlt_service.settings import Settings

DELAY_S = 0.1
"""Of each explanation and each score."""


def main() -> int:
    """Serve until asked to end."""

    def make_engine(weights: Weights) -> FakeEngine:
        return FakeEngine(FakeOptions(weights=weights, delay_s=DELAY_S))

    words = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    settings = Settings(port=int(words["--port"]), roles=tuple(words["--roles"].split(",")))  # pyright: ignore[reportArgumentType] - checked by pydantic
    return serve(checked(settings), make_engine=make_engine)


if __name__ == "__main__":
    sys.exit(main())
