"""A trainer for the documentation's server: collects and evaluates as it is; what would train a model is the stub's.

The stub announces a version that is better where an `rl` is to promote, so that examples see a gate open.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

STUB = Path(__file__).parents[1] / "jobs" / "stub_trainer.py"


def main() -> None:
    """Become the trainer that the job needs."""
    place = sys.argv.index("--job") + 1
    job: dict[str, Any] = json.loads(Path(sys.argv[place]).read_text(encoding="utf-8"))
    if job["kind"] in ("collect", "evaluate"):
        os.execv(sys.executable, [sys.executable, "-m", "rlt_train", *sys.argv[1:]])
    gated = job["spec"].get("promote", {}).get("when") == "if_better"
    job["spec"]["name"] = "gate" if gated else "ok"
    told = Path(job["attempt_dir"]) / "told.json"
    told.write_text(json.dumps(job), encoding="utf-8")
    os.execv(sys.executable, [sys.executable, str(STUB), "--job", str(told)])


if __name__ == "__main__":
    main()
