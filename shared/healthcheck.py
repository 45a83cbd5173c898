"""`python -m shared.healthcheck [PATH]`: exit with status 0 if the service of this container is ready.

The image contains no other HTTP client. It requests `/ready`, or another path, on `PORT`.
"""

import http.client
import os
import sys

_TIMEOUT_SECONDS = 4


def main(path: str) -> int:
    """Send one request. Return an exit status: 0, or 1 if the response is not a 200 or does not arrive."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["PORT"]), timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
    except OSError as error:
        print(f"{path}: {error}", file=sys.stderr)  # noqa: T201  the container engine shows it
        return 1
    print(response.status, response.read(1000).decode(errors="replace"))  # noqa: T201  likewise
    return 0 if response.status == http.HTTPStatus.OK else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if sys.argv[1:] else "/ready"))
