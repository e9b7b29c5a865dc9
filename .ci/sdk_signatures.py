"""The SDK as its users see it: a description `Call[Job]` is a call that gives a `Job`; examples are code."""

import re
from typing import Any

import griffe

GIVES = {"call": "", "plan": "", "act": "", "every": "Iterator"}
"""By decorator: what stands around what a description describes."""
OF_A_CLIENT = {"JobT": "Job", "Self": "Job"}
"""What a description leaves open, as a `Client` fills it in."""

EXAMPLE = re.compile(r"^(?:(?:>>>|\.\.\.) .*(?:\n|$))+", re.MULTILINE)
PROMPT = re.compile(r"^(?:>>>|\.\.\.) ", re.MULTILINE)


class Signatures(griffe.Extension):
    """Writes what a decorated description gives when it is called."""

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Take the description out of the type that a method gives."""
        made = {str(one.value) for one in func.decorators} & GIVES.keys()
        if made and isinstance(func.returns, griffe.ExprSubscript):
            around = GIVES[made.pop()]
            inner = func.returns.slice
            for part in inner.iterate(flat=True) if isinstance(inner, griffe.Expr) else ():
                if isinstance(part, griffe.ExprName):
                    part.name = OF_A_CLIENT.get(part.name, part.name)
            func.returns = griffe.ExprSubscript(left=griffe.ExprName(around), slice=inner) if around else inner

    def on_class_instance(self, *, cls: griffe.Class, **_: Any) -> None:
        """Show what stands behind prompts as a block of code."""
        if cls.docstring is not None:
            cls.docstring.value = EXAMPLE.sub(_fenced, cls.docstring.value)


def _fenced(example: re.Match[str]) -> str:
    return f"```python\n{PROMPT.sub('', example[0])}```\n"
