"""A process that ends quickly looks for no garbage on its way out."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc
from rlt_service.engine.quick_exit import end_quickly

class Told:
    def __del__(self):
        print("looked for garbage")

gc.disable()
told = Told()
told.itself = told
{call}
del told
"""


@pytest.mark.parametrize(("call", "said"), [("", "looked for garbage\n"), ("end_quickly()", "")])
def test_what_is_garbage_at_the_end_stays_so(call: str, said: str) -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT.format(call=call)], check=True, capture_output=True, text=True)
    assert ended.stdout == said
