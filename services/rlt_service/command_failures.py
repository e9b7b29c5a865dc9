"""Own how the service's own commands (`rlt keys`, `rlt backup`, `rlt restore`) end when something is wrong."""

import json
import sys
from typing import Final

from pydantic import ValidationError
from rich.console import Console

from rlt_core.errors import RltError

FAILED: Final = 1
NOT_FOUND: Final = 3


def tell(error: RltError | ValidationError, *, notes: Console, as_json: bool) -> int:
    """Say what was wrong, with `as_json` as one line of JSON, as the rest of `rlt` does; gives the exit code."""
    if isinstance(error, RltError):
        code, message = error.code, error.detail
        exit_code = NOT_FOUND if error.status == 404 else FAILED
    else:
        first = error.errors(include_url=False)[0]
        code, exit_code = "configuration_error", FAILED
        message = f"RLT_{str(first['loc'][0]).upper()} is {first['input']!r}: {first['msg']}"
    if as_json:
        said = {"error": {"code": code, "message": message, "exit_code": exit_code}}
        sys.stderr.write(json.dumps(said, ensure_ascii=False) + "\n")
    else:
        notes.print(f"error: {message}", markup=False, style="red")
    return exit_code
