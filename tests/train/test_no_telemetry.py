"""A trainer tells nobody what it trains: TRL's trainers report to the hub when they are made, unless that is off."""

import os
import subprocess
import sys

CODE = (
    "import sys, rlt_train.__main__ as trainer\n"
    "assert 'huggingface_hub' not in sys.modules, 'it reads the variable at its import, which would be too early'\n"
    "trainer.keep_to_itself()\n"
    "from huggingface_hub import constants\n"
    "print(constants.HF_HUB_DISABLE_TELEMETRY)"
)


def telemetry_is_off(environment: dict[str, str]) -> str:
    found = subprocess.run([sys.executable, "-c", CODE], env=environment, check=True, capture_output=True, text=True)
    return found.stdout.strip()


def test_a_trainer_reports_nothing_unless_its_operator_wants_that() -> None:
    clean = {name: value for name, value in os.environ.items() if "TELEMETRY" not in name and name != "DO_NOT_TRACK"}
    assert telemetry_is_off(clean) == "True"
    assert telemetry_is_off(clean | {"HF_HUB_DISABLE_TELEMETRY": "0"}) == "False"
