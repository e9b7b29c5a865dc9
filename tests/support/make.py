"""Run the project's Makefile as a person would, whatever make runs these tests."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DEMO_ARGS")


def run_make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make with the given arguments to its end."""
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
