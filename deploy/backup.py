"""`make backup` and `make restore FILE=…`: the complete database in one file.

It contains accounts, threads, runs, the store, and documents with the uploaded files. `pg_dump` takes a consistent
snapshot while the service runs. The data in Valkey and the secrets are not included.

Each backup is verified by reading it to its end. `BACKUP_FOLDER` sets the folder, `BACKUP_KEEP` the number of backups
to keep, and `BACKUP_PASSPHRASE_FILE` enables encryption.
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
_ALL_OR_NOTHING = "--no-owner --single-transaction --exit-on-error"
_RESTORE = f'PGPASSWORD="$POSTGRES_PASSWORD" exec pg_restore -U app -d app {_ALL_OR_NOTHING}'
# By TCP: while the container initializes its database, a temporary server listens on the socket.
_QUERY = 'PGPASSWORD="$POSTGRES_PASSWORD" exec psql -h 127.0.0.1 -U app -d app -Atc "$1"'
_TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
_READY_SECONDS = 120


def backup(stack: Stack) -> Path:
    """Write and verify a backup, and delete the oldest ones.

    Returns:
        The backup; its checksum is in a file beside it.

    Raises:
        DeployError: if it could not be written or verified; no file is left then.
    """
    folder = ROOT / setting("BACKUP_FOLDER", "backups")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passphrase = setting("BACKUP_PASSPHRASE_FILE", "")
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    file = folder / f"{stack.project}-{stamp}.dump{_ENCRYPTED if passphrase else ''}"
    unverified = file.with_name(f"{file.name}.unproven")
    postgres = stack.only("postgres")
    writing = [_inside(stack, postgres, _DUMP)]
    if passphrase:
        writing.append([*_CIPHER, "-pass", f"file:{passphrase}"])
    try:
        with os.fdopen(os.open(unverified, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            _pipe(writing, target)
        with _decrypted(unverified, passphrase) as source:
            _feed(_inside(stack, postgres, _READ), source)
        checksum = _checksum(unverified)
        file.with_name(f"{file.name}.sha256").write_text(f"{checksum}  {file.name}\n")
        unverified.rename(file)
    finally:
        unverified.unlink(missing_ok=True)
    for old in sorted(folder.glob(f"{stack.project}-*.dump*.sha256"))[: -int(setting("BACKUP_KEEP", "14"))]:
        old.with_suffix("").unlink(missing_ok=True)
        old.unlink()
    return file


def restore(stack: Stack, file: Path) -> None:
    """Restore a backup into an empty database, and start all services.

    Raises:
        DeployError: if the file is damaged, the database is not empty, or the restore fails. Nothing is changed then.
    """
    checksum_file = file.with_name(f"{file.name}.sha256")
    if not file.is_file() or not checksum_file.is_file():
        raise DeployError(f"{file} or {checksum_file.name} does not exist")
    if checksum_file.read_text().split()[0] != _checksum(file):
        raise DeployError(f"{file} is damaged: its checksum does not match")
    passphrase = setting("BACKUP_PASSPHRASE_FILE", "")
    if file.suffix == _ENCRYPTED and not passphrase:
        raise DeployError(f"{file} is encrypted: set BACKUP_PASSPHRASE_FILE")
    stack.composed("up", "-d", "--no-deps", "postgres")
    tables = _table_count_when_ready(stack)
    if tables != "0":
        raise DeployError(
            f"the database has {tables} tables, but a backup is only restored into an empty database: "
            "see docs/deploy.md for how to delete its data first"
        )
    with _decrypted(file, passphrase if file.suffix == _ENCRYPTED else "") as source:
        _feed(_inside(stack, stack.only("postgres"), _RESTORE), source)
    stack.composed("up", "-d")


def _table_count_when_ready(stack: Stack) -> str:
    """Wait for the database, and return the number of its tables."""
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            return stack.run([*_inside(stack, stack.only("postgres"), _QUERY), "sh", _TABLES])
        except DeployError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def _inside(stack: Stack, container: str, script: str) -> list[str]:
    # The password is in the container's environment, never in an argument.
    return [*stack.container, "exec", "-i", container, "sh", "-c", script]


def _pipe(commands: list[list[str]], target: IO[bytes]) -> None:
    """Run commands as a pipeline into a file."""
    running: list[subprocess.Popen[bytes]] = []
    for number, command in enumerate(commands):
        last = number == len(commands) - 1
        source = running[-1].stdout if running else subprocess.DEVNULL
        running.append(subprocess.Popen(command, stdin=source, stdout=target if last else subprocess.PIPE))
    for process in running[:-1]:
        if process.stdout:
            process.stdout.close()  # the next process has its own copy
    if failed := [process.args for process in running if process.wait() != 0]:
        raise DeployError(f"failed: {failed}")


@contextmanager
def _decrypted(file: Path, passphrase: str) -> Iterator[IO[bytes]]:
    """Open a backup for reading; decrypt it if there is a passphrase."""
    with file.open("rb") as stored:
        if not passphrase:
            yield stored
            return
        command = [*_CIPHER, "-d", "-pass", f"file:{passphrase}"]
        with subprocess.Popen(command, stdin=stored, stdout=subprocess.PIPE) as decrypting:
            assert decrypting.stdout  # noqa: S101  it is a pipe
            yield decrypting.stdout
        if decrypting.returncode != 0:
            raise DeployError(f"{file} cannot be decrypted with this passphrase")


def _feed(command: list[str], source: IO[bytes]) -> None:
    done = subprocess.run(command, stdin=source, capture_output=True, check=False)
    if done.returncode != 0:
        raise DeployError(f"the backup cannot be read: {done.stderr.decode(errors='replace').strip()[-500:]}")


def _checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def main() -> int:
    """Back up or restore; return the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m deploy.backup", description=__doc__.splitlines()[0])
    parser.add_argument("--restore", metavar="FILE", type=Path, help="restore this backup into an empty database")
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
