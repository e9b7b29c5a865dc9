"""One rank of a trainer of two that accelerate starts: says again and again that it lives, and does nothing else."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from rlt_train.lifeline import die_with_parent, leave_at_once, watch_beats


def main() -> None:
    job: dict[str, Any] = json.loads(Path(sys.argv[sys.argv.index("--job") + 1]).read_text())
    die_with_parent()
    watch_beats(sys.stdin.fileno(), lease_s=job["lease_s"], on_lost=leave_at_once)
    import torch  # after the watch, as the trainer does: this alone can take longer than a lease
    import torch.distributed

    torch.distributed.init_process_group("gloo")
    said = Path(job["attempt_dir"]) / f"rank-{torch.distributed.get_rank()}.json"
    began_s = time.monotonic()
    while True:
        together = torch.ones(1)
        torch.distributed.all_reduce(together)
        part = said.with_suffix(".part")
        ages = {"pid": os.getpid(), "launcher": os.getppid(), "session": os.getsid(0), "ranks": int(together)}
        part.write_text(json.dumps(ages | {"age_s": time.monotonic() - began_s}))
        part.rename(said)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
