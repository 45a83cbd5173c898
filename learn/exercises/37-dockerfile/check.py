import json
import re
from types import ModuleType

Instruction = tuple[str, str]
_INSTALL = re.compile(r"\bpip3? .*\binstall\b.*requirements\.txt")


def _instructions(text: str) -> list[Instruction]:
    """Parse instructions and their arguments, without comments; continued lines are joined."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = re.sub(r"\\\s*\n", " ", kept).splitlines()
    parts = [line.strip().split(maxsplit=1) for line in lines if line.strip()]
    return [(words[0].upper(), words[1].strip() if words[1:] else "") for words in parts]


def _values(exercise: ModuleType, name: str, last_stage: bool = False) -> list[str]:
    instructions = _instructions(exercise.DOCKERFILE)
    if last_stage:
        start = max(place for place, (one, _) in enumerate(instructions) if one == "FROM")
        instructions = instructions[start:]
    return [value for one, value in instructions if one == name]


def _images(exercise: ModuleType) -> list[str]:
    """Return the image that each stage is built from; a stage that continues another one has the same."""
    images: list[str] = []
    names: dict[str, str] = {}
    for value in _values(exercise, "FROM"):
        image, *name = [word for word in value.split() if not word.startswith("--")]
        images.append(names.get(image, image))
        if name:
            names[name[-1]] = images[-1]
    return images


def test_base_images_are_pinned(exercise: ModuleType) -> None:
    images = _images(exercise)
    assert images
    for image in images:
        assert re.search(r"@sha256:[0-9a-f]{64}$|:\d+\.\d+(\.\d+)?(-\w+)*$", image), (
            f"{image} may be another one tomorrow / 这个标签明天可能指向另一个镜像"
        )


def test_last_image_is_small(exercise: ModuleType) -> None:
    assert re.search(r"slim|alpine|@sha256", _images(exercise)[-1])


def test_packages_are_installed_before_the_code_is_copied(exercise: ModuleType) -> None:
    instructions = _instructions(exercise.DOCKERFILE)
    installs = [name == "RUN" and bool(_INSTALL.search(value)) for name, value in instructions]
    assert any(installs), "no `pip install -r requirements.txt` / 没有这条安装命令"
    install = installs.index(True)
    earlier = [value.split() for name, value in instructions[:install] if name in {"COPY", "ADD"}]
    assert any("requirements.txt" in " ".join(words) for words in earlier), (
        "requirements.txt must be copied first / 要先复制 requirements.txt"
    )
    assert not any({".", "app", "app/", "./app", "./app/"} & set(words[:-1]) for words in earlier), (
        "the code is copied too early / 代码复制得太早"
    )


def test_only_the_package_is_copied(exercise: ModuleType) -> None:
    sources = [value.split() for value in _values(exercise, "COPY")]
    assert any(re.fullmatch(r"(\./)?app/?", word) for words in sources for word in words[:-1])
    assert not any("." in words[:-1] for words in sources), (
        "`COPY . .` also copies .env and .git / `COPY . .` 会带上 .env 和 .git"
    )


def test_process_is_not_root(exercise: ModuleType) -> None:
    users = _values(exercise, "USER", last_stage=True)
    assert users, "no USER in the last stage: the process runs as root / 最后一个阶段没有 USER，进程以 root 运行"
    assert users[-1].split(":")[0] not in {"root", "0"}


def test_server_gets_signals_and_listens_outside_the_container(exercise: ModuleType) -> None:
    command = (_values(exercise, "CMD", last_stage=True) or [""])[-1]
    assert command.startswith("["), (
        "in shell form, /bin/sh gets the SIGTERM and the server is killed / shell 形式下信号发给 /bin/sh，服务器被强杀"
    )
    words = json.loads(command)
    assert "app.main:app" in words
    assert re.search(r"--host[ =]0\.0\.0\.0", " ".join(words)), (
        "127.0.0.1 cannot be reached from outside the container / 从容器外访问不到 127.0.0.1"
    )


def test_pip_keeps_no_cache(exercise: ModuleType) -> None:
    installs = [value for value in _values(exercise, "RUN") if _INSTALL.search(value)]
    assert installs
    kept = [value for value in installs if not re.search("--no-cache-dir|--mount=type=cache", value)]
    assert not kept or "PIP_NO_CACHE_DIR" in " ".join(_values(exercise, "ENV"))
