"""Ask the server of this container for /healthz or /readyz: exit code 0 where it answers 200. Standard library only."""

import http.client
import os
import sys

PORT = "8400"
"""Where RLT_PORT names no other."""
ANSWER_S = 4.0
"""Less than the timeout of the container's health check."""


def main(path: str) -> int:
    """Give 0 for an answer of 200, else 1 and the reason on standard error."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("RLT_PORT", PORT)), timeout=ANSWER_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status == http.client.OK:
            return 0
        sys.stderr.write(f"{path} answered {answer.status}: {answer.read(500).decode(errors='replace')}\n")
    except OSError as error:
        sys.stderr.write(f"{path} was not answered: {error}\n")
    finally:
        connection.close()
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "/healthz"))
