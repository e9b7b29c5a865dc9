"""A server leaves what it has loaded out of its collections, so that none of them holds up who waits."""

import subprocess
import sys

CODE = """
import gc, sys
from rlt_service import pauses
pauses.shorten()
found = gc.get_freeze_count()
kept = [[] for _ in range(1000)]
pauses.shorten()
print(found > 1000, gc.get_freeze_count() - found >= 1000, sys.getswitchinterval() == pauses.SWITCH_S)
"""


def test_what_is_loaded_is_frozen_also_what_comes_later() -> None:
    # In a process of its own: this one's tests look for what is left over.
    found = subprocess.run([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True, check=True)
    assert found.stdout.split() == ["True", "True", "True"]
