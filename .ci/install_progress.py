"""Run pip and show one line of progress: packages collected of those in the lock, seconds. Standard library only.

Usage: install_progress.py -- pip install … -r LOCK
"""

import subprocess
import sys
import time
from pathlib import Path

WIDTH = 30


def count_locked(lock: Path) -> int:
    """Count the requirements of a lock file."""
    return sum(1 for line in lock.read_text().splitlines() if "==" in line and not line.startswith((" ", "#")))


def draw(done: int, total: int, *, started: float, last: str, tty: bool) -> None:
    """Write the bar; without a terminal, one line for every fortieth package."""
    filled = WIDTH * min(done, total) // max(total, 1)
    line = (
        f"  [{'#' * filled}{'.' * (WIDTH - filled)}] {done}/{total} {time.monotonic() - started:4.0f} s {last[:40]:40}"
    )
    if tty:
        sys.stderr.write(f"\r{line}")
    elif done % 40 == 0 or done == total:
        sys.stderr.write(f"{line.rstrip()}\n")
    sys.stderr.flush()


def main(arguments: list[str]) -> int:
    """Run the command after `--`; on failure show pip's own words."""
    command = arguments[arguments.index("--") + 1 :]
    total = count_locked(Path(command[-1]))
    started, done, lines = time.monotonic(), 0, list[str]()
    tty = sys.stderr.isatty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            lines.append(line)
            if line.startswith(("Collecting ", "Requirement already")):
                done += 1
                draw(done, total, started=started, last=line.split()[1], tty=tty)
            elif line.startswith("Installing collected"):
                draw(total, total, started=started, last="unpacking, about a minute", tty=tty)
        code = process.wait()
    sys.stderr.write("\n")
    if code != 0:
        sys.stderr.write("".join(lines[-30:]))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
