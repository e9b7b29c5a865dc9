"""Run the builder stage of a Dockerfile in a folder, without Docker: `make image-steps`. Its paths become the folder's.

What an image is made of besides (base image, Debian's packages, users, layers) is not tried here.
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = ("/opt/rlt", "/dist")
"""Folders of the image that steps name."""
HEAVY = re.compile(r"\bpip install\b.*--requirement|\bpip install\b.* -r ")
"""Steps that download."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction of a Dockerfile, its lines joined."""

    stage: str
    keyword: str
    value: str


def instructions_of(text: str) -> list[Instruction]:
    """Read a Dockerfile; what stands before the first FROM is of the stage ``""``."""
    stage, found = "", list[Instruction]()
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        keyword, _, value = line.strip().partition(" ")
        if not keyword:
            continue
        if keyword == "FROM":
            stage = value.rpartition(" AS ")[2]
        found.append(Instruction(stage=stage, keyword=keyword, value=value.strip()))
    return found


def arguments_of(instructions: Sequence[Instruction], stage: str) -> dict[str, str]:
    """Give what ARG and ENV of a stage set."""
    parts = [one.value for one in instructions if one.stage == stage and one.keyword in ("ARG", "ENV")]
    return dict(part.split("=", 1) for value in parts for part in shlex.split(value) if "=" in part)


def run_stage(
    instructions: Sequence[Instruction], stage: str, *, folder: Path, light: bool = False
) -> Iterator[tuple[str, float]]:
    """Carry out COPY and RUN of a stage below `folder`; gives each command. Raises CalledProcessError.

    `light` leaves out what downloads, and builds the wheel with this environment's hatchling.
    """
    work = folder / "src"
    work.mkdir(parents=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **arguments_of(instructions, stage)}
    for one in instructions:
        if one.stage != stage:
            continue
        if one.keyword == "COPY":
            _copy(one.value, work)
        elif one.keyword == "RUN" and not (light and HEAVY.search(one.value)):
            command = _placed(one.value, folder)
            if light:
                command = command.replace(f"{folder}/opt/rlt/bin/python -m hatchling", f"{sys.executable} -m hatchling")
            yield one.value, _run(command, work, environment)


def _placed(command: str, folder: Path) -> str:
    for place in PLACES:
        command = command.replace(place, f"{folder}{place}")
    # The first command of the stage makes the environment by whatever Python this is.
    return re.sub(r"^python ", f"{sys.executable} ", command)


def _copy(value: str, work: Path) -> None:
    *sources, target = value.split()
    for source in sources:
        there = ROOT / source
        if there.is_dir():
            shutil.copytree(there, work / target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            (work / target).mkdir(parents=True, exist_ok=True)
            shutil.copy(there, work / target)


def _run(command: str, work: Path, environment: Mapping[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(["bash", "-euc", command], cwd=work, env=dict(environment), check=True, stdout=sys.stderr)
    return time.monotonic() - began


def main(arguments: Sequence[str]) -> int:
    """Run the builder stage, then the command that the image runs, as far as `--help`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.image_steps", description=__doc__)
    parser.add_argument("dockerfile", type=Path)
    folder = ROOT / ".rlt" / "image"
    instructions = instructions_of(parser.parse_args(arguments).dockerfile.read_text(encoding="utf-8"))
    shutil.rmtree(folder, ignore_errors=True)
    for command, seconds in run_stage(instructions, "builder", folder=folder):
        sys.stdout.write(f"{seconds:6.1f} s  {command}\n")
    for command in (["rlt", "--version"], ["python", "-m", "rlt_service", "--help"], ["python", "-c", "import vllm"]):
        subprocess.run([folder / "opt" / "rlt" / "bin" / command[0], *command[1:]], check=True, cwd=folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
