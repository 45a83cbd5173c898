"""`python local/child.py SIGNAL PARENT [--not-root] COMMAND…`: execute COMMAND, and end it with its parent.

When the process PARENT dies, the kernel sends SIGNAL, so a killed launcher leaves no process behind. (Linux only;
elsewhere the next start cleans up.) With `--not-root`, root becomes an unprivileged user: PostgreSQL refuses root.
"""

import ctypes
import os
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2); kept across execve(2)
_CLONE_NEWUSER = 0x10000000  # unshare(2)
_UNPRIVILEGED_ID = 1000
_NOBODY = 65534


def main(signal_number: int, parent: int, command: list[str]) -> None:
    """Replace this process with the command."""
    if command[0] == "--not-root":
        command = command[1:]
        if os.geteuid() == 0:
            _drop_root()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:  # the parent died before `prctl` was called
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  no shell is needed


def _drop_root() -> None:
    """Become an unprivileged user in a new user namespace, where files keep their owner and mode."""
    uid, gid = os.getuid(), os.getgid()
    if ctypes.CDLL(None).unshare(_CLONE_NEWUSER) == 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{_UNPRIVILEGED_ID} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{_UNPRIVILEGED_ID} {gid} 1")
    else:  # user namespaces are forbidden, as in many containers; the files must then be accessible to `nobody`
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
