"""`python -m local.child SIGNAL PARENT [--not-root] COMMAND…`: become COMMAND, and die when PARENT does.

When the process PARENT dies, the kernel sends SIGNAL, so a launcher that is killed leaves nothing behind. (Linux only;
elsewhere the next start cleans up.) With `--not-root`, root seems to be an ordinary user: PostgreSQL insists on one.
"""

import ctypes
import os
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2); kept across execve(2)
_CLONE_NEWUSER = 0x10000000  # unshare(2)
_SOMEBODY = 1000
_NOBODY = 65534


def main(signal_number: int, parent: int, command: list[str]) -> None:
    """Replace this process by the command."""
    if command[0] == "--not-root":
        command = command[1:]
        if os.geteuid() == 0:
            _leave_root()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal_number)
        if os.getppid() != parent:  # it died before it could be noticed
            sys.exit(1)
    os.execvp(command[0], command)  # noqa: S606  there is no shell to want


def _leave_root() -> None:
    """Be somebody else, in a user namespace of this process's own: its files stay its own, and no mode changes."""
    uid, gid = os.getuid(), os.getgid()
    if ctypes.CDLL(None).unshare(_CLONE_NEWUSER) == 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{_SOMEBODY} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{_SOMEBODY} {gid} 1")
    else:  # namespaces are forbidden, as in many containers: then the files must be within nobody's reach
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
