"""Our service on a fake engine that takes its time: `python -m benchmarks.swap.fake_service --home FOLDER --port PORT`.

With answers at once, 64 clients would only measure how fast Python answers; an engine makes them wait.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import uvicorn

from benchmarks.score.server import SilentBell
from rlt_service.app import create_app
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import Weights
from rlt_service.settings import Settings

DELAY_S = 0.6
"""Of each explanation and each score."""


def main() -> None:
    """Serve until asked to end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.swap.fake_service")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()

    def make_engine(weights: Weights) -> FakeEngine:
        return FakeEngine(replace(FakeOptions(delay_s=DELAY_S), weights=weights))

    app = create_app(Settings(home=options.home, engine="fake"), make_engine=make_engine, bell=SilentBell())
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", server_header=False)


if __name__ == "__main__":
    main()
