"""`python -m shared.healthcheck`: exits with 0 where the service of this container is ready.

An image holds no other program that could ask. It asks `/ready` on `PORT`, or the path that is given.
"""

import http.client
import os
import sys

_PATIENCE_SECONDS = 4


def main(path: str) -> int:
    """Ask once. Returns an exit status: 0, or 1 where the answer is not a success or does not come."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
    except OSError as error:
        print(f"{path}: {error}", file=sys.stderr)  # noqa: T201  it is what the engine shows
        return 1
    print(answer.status, answer.read(1000).decode(errors="replace"))  # noqa: T201  likewise
    return 0 if answer.status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if sys.argv[1:] else "/ready"))
