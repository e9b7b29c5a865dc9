"""What a collect imports: it holds no model, so it needs none of what models need."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "trl", "peft", "vllm")


def test_a_collect_starts_without_torch() -> None:
    code = "import sys, rlt_train.__main__, rlt_train.service_kinds, rlt_client; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert [name for name in HEAVY if name in loaded] == []
