"""`python -m shared.dev.child SIGNAL PARENT COMMAND…`: become COMMAND, and get SIGNAL when the process PARENT dies.

So a launcher that is killed leaves nothing behind. Linux only; elsewhere the next start cleans up.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2); kept across execve(2)


def main(signal_number: int, parent: int, command: list[str]) -> None:
    """Replace this process by the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:  # it died before it could be noticed
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  there is no shell to want


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
