"""`python -m rlt_service` serves; readable by any Python from 3.6 on, so that it can refuse an old one."""

import sys
from typing import Sequence  # noqa: UP035 - an old Python cannot subscript the other one

from rlt_core.python_version import complaint


def main(version: Sequence[int] = sys.version_info[:2]) -> int:
    """Refuse an old Python, then serve."""
    refused = complaint(*version)
    if refused:
        sys.stderr.write("error: " + refused + "\n")
        return 1
    # Not at the top: an old Python could not read it.
    from rlt_service.serve import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
