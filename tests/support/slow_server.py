"""`python -m tests.support.slow_server HOME PORT DELAY GRACE`: the server on a fake engine that takes its time."""

import sys
from pathlib import Path

from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import Weights
from rlt_service.serve import serve
from rlt_service.settings import Settings


def main() -> int:
    """Serve until asked to end."""
    home, port, delay_s, grace_s = sys.argv[1:]

    def make_engine(weights: Weights) -> FakeEngine:
        return FakeEngine(FakeOptions(weights=weights, delay_s=float(delay_s)))

    settings = Settings(home=Path(home), port=int(port), engine="fake", drain_grace_s=float(grace_s))
    return serve(settings, make_engine=make_engine)


if __name__ == "__main__":
    sys.exit(main())
