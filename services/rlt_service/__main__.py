"""`python -m rlt_service` serves; readable by any Python from 3.6 on, so that it can refuse an old one."""

import sys

from rlt_service.launch.python_version import complaint


def main() -> int:
    """Refuse an old Python, then serve."""
    refused = complaint(sys.version_info[0], sys.version_info[1])
    if refused:
        sys.stderr.write("error: " + refused + "\n")
        return 1
    # Not at the top: an old Python could not read it.
    from rlt_service.serve import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
