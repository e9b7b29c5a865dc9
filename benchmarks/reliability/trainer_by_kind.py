"""`trainer_by_kind.py TEMPLATE SHA256 --job FILE`: becomes the stub for a warm-up, and for rl the real trainer.

With the standard library alone, as the stub.
"""

import json
import os
import sys


def main() -> None:
    """Become it."""
    template, sha256, _, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        kind = json.load(file)["spec"]["kind"]
    stub = os.path.join(os.path.dirname(os.path.abspath(__file__)), "stub_trainer.py")
    real = ("-m", "rlt_train")
    words = real if kind == "rl" else ("-I", "-S", stub, template, sha256)
    os.execv(sys.executable, [sys.executable, *words, "--job", path])


if __name__ == "__main__":
    main()
