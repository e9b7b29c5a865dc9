"""Users' code is fully typed: pyright's strict mode finds nothing in a sample of it."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE = Path(__file__).parent / "typed" / "users_code.py"


def test_pyright_in_its_strict_mode_finds_nothing_in_users_code(tmp_path: Path) -> None:
    (tmp_path / "users_code.py").write_bytes(SAMPLE.read_bytes())
    config = {
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": "error",
        "extraPaths": [str(ROOT), str(ROOT / "clients"), str(ROOT / "services")],
        "pythonVersion": "3.11",
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config), encoding="utf-8")
    found = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert found.returncode == 0, found.stdout
