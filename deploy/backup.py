"""`make backup` and `make restore FILE=…`: everything that would be missed, in one file.

That is the database: accounts, threads, runs, what is remembered, and documents with the files that were uploaded.
`pg_dump` sees all of it at one moment, whatever is written meanwhile. What Valkey holds is not in it, nor are secrets.

A backup is read again, to its end, before it counts as one. `BACKUP_FOLDER` says where it goes, `BACKUP_KEEP` how many
are kept, `BACKUP_PASSPHRASE_FILE` that it is encrypted.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from deploy.stack import ROOT, DeployError, Stack, setting

_ENCRYPTED = ".enc"
_CIPHER = ["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "600000"]
_DUMP = 'PGPASSWORD="$POSTGRES_PASSWORD" exec pg_dump -U app -d app --format=custom --no-owner'
_READ = "exec pg_restore --file=/dev/null"
_WHOLE_OR_NOT = "--no-owner --single-transaction --exit-on-error"
_RESTORE = f'PGPASSWORD="$POSTGRES_PASSWORD" exec pg_restore -U app -d app {_WHOLE_OR_NOT}'
# By an address: while the container makes its database, a server answers on the socket that is about to stop.
_QUERY = 'PGPASSWORD="$POSTGRES_PASSWORD" exec psql -h 127.0.0.1 -U app -d app -Atc "$1"'
_TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
_READY_SECONDS = 120


def backup(stack: Stack) -> Path:
    """Write a backup, read it again, and remove the oldest.

    Returns:
        Its file; beside it is one more with its checksum.

    Raises:
        DeployError: if it could not be written or not be read again; then there is no file.
    """
    folder = ROOT / setting("BACKUP_FOLDER", "backups")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passphrase = setting("BACKUP_PASSPHRASE_FILE", "")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    file = folder / f"{stack.project}-{stamp}.dump{_ENCRYPTED if passphrase else ''}"
    unproven = file.with_name(f"{file.name}.unproven")
    postgres = stack.only("postgres")
    writing = [_inside(stack, postgres, _DUMP)]
    if passphrase:
        writing.append([*_CIPHER, "-pass", f"file:{passphrase}"])
    try:
        with os.fdopen(os.open(unproven, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            _pipe(writing, target)
        with _plain(unproven, passphrase) as source:
            _feed(_inside(stack, postgres, _READ), source)
        checksum = _checksum(unproven)
        file.with_name(f"{file.name}.sha256").write_text(f"{checksum}  {file.name}\n")
        unproven.rename(file)
    finally:
        unproven.unlink(missing_ok=True)
    for old in sorted(folder.glob(f"{stack.project}-*.dump*.sha256"))[: -int(setting("BACKUP_KEEP", "14"))]:
        old.with_suffix("").unlink(missing_ok=True)
        old.unlink()
    return file


def restore(stack: Stack, file: Path) -> None:
    """Put a backup into a stack that has nothing in its database, and start everything.

    Raises:
        DeployError: if the file is not what was written, there is something in the database, or it does not fit. Then
            nothing has been changed.
    """
    noted = file.with_name(f"{file.name}.sha256")
    if not file.is_file() or not noted.is_file():
        raise DeployError(f"there is no {file}, or no {noted.name} beside it")
    if noted.read_text().split()[0] != _checksum(file):
        raise DeployError(f"{file} is not what was written: its checksum is another one")
    passphrase = setting("BACKUP_PASSPHRASE_FILE", "")
    if file.suffix == _ENCRYPTED and not passphrase:
        raise DeployError(f"{file} is encrypted: BACKUP_PASSPHRASE_FILE must say with what")
    stack.composed("up", "-d", "--no-deps", "postgres")
    tables = _when_ready(stack)
    if tables != "0":
        raise DeployError(
            f"there are {tables} tables in the database, and a backup goes into an empty one: "
            "docs/deploy.md says how to make it so, and lose what is there"
        )
    with _plain(file, passphrase if file.suffix == _ENCRYPTED else "") as source:
        _feed(_inside(stack, stack.only("postgres"), _RESTORE), source)
    stack.composed("up", "-d")


def _when_ready(stack: Stack) -> str:
    """Wait for the database, and return how many tables are in it."""
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            return stack.run([*_inside(stack, stack.only("postgres"), _QUERY), "sh", _TABLES])
        except DeployError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _inside(stack: Stack, container: str, script: str) -> list[str]:
    # The password is in the container's environment, and never in an argument.
    return [*stack.container, "exec", "-i", container, "sh", "-c", script]


def _pipe(commands: list[list[str]], target: IO[bytes]) -> None:
    """Run commands, each reading what the one before it writes, the last one into a file."""
    running: list[subprocess.Popen[bytes]] = []
    for number, command in enumerate(commands):
        last = number == len(commands) - 1
        source = running[-1].stdout if running else subprocess.DEVNULL
        running.append(subprocess.Popen(command, stdin=source, stdout=target if last else subprocess.PIPE))
    for process in running[:-1]:
        if process.stdout:
            process.stdout.close()  # it is the next one's now
    if failed := [process.args for process in running if process.wait() != 0]:
        raise DeployError(f"failed: {failed}")


@contextmanager
def _plain(file: Path, passphrase: str) -> Iterator[IO[bytes]]:
    """Open a backup to be read, decrypted where it must be."""
    with file.open("rb") as stored:
        if not passphrase:
            yield stored
            return
        command = [*_CIPHER, "-d", "-pass", f"file:{passphrase}"]
        with subprocess.Popen(command, stdin=stored, stdout=subprocess.PIPE) as decrypting:
            assert decrypting.stdout  # noqa: S101  it is a pipe
            yield decrypting.stdout
        if decrypting.returncode != 0:
            raise DeployError(f"{file} cannot be decrypted with that passphrase")


def _feed(command: list[str], source: IO[bytes]) -> None:
    done = subprocess.run(command, stdin=source, capture_output=True, check=False)
    if done.returncode != 0:
        raise DeployError(f"it cannot be read: {done.stderr.decode(errors='replace').strip()[-500:]}")


def _checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def main() -> int:
    """Back up or restore. Returns an exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m deploy.backup", description=__doc__.splitlines()[0])
    parser.add_argument("--restore", metavar="FILE", type=Path, help="put this backup into a stack without data")
    arguments = parser.parse_args()
    try:
        if arguments.restore:
            restore(Stack.here(), arguments.restore)
            print(f"restored {arguments.restore}")
        else:
            file = backup(Stack.here())
            print(f"{file}: {file.stat().st_size:,} bytes")
    except DeployError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
