"""Signatures of the SDK as its users see them: a description `Call[Job]` is a call that gives a `Job`."""

from typing import Any

import griffe

GIVES = {"call": "", "plan": "", "every": "Iterator"}
"""By decorator: what stands around what a description describes."""


class Signatures(griffe.Extension):
    """Writes what a decorated description gives when it is called."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Take the description out of the type that a method gives."""
        made = {str(one.value) for one in func.decorators} & GIVES.keys()
        if made and isinstance(func.returns, griffe.ExprSubscript):
            around = GIVES[made.pop()]
            inner = func.returns.slice
            func.returns = griffe.ExprSubscript(left=griffe.ExprName(around), slice=inner) if around else inner
