"""The launcher's messages in Chinese."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.language import chinese, say, say_error

ROOT = Path(__file__).parents[2]
RAISED = {"ConfigurationError", "AlreadyRunning", "ChildFailed", "say", "report"}


def messages() -> Iterator[str]:
    """Yield the messages of the launcher's modules, with a name for each value."""
    modules = [*(ROOT / "local").glob("*.py"), ROOT / "local/model_server/language_models.py"]
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED and node.args:
                argument = node.args[0]
                if isinstance(argument, ast.JoinedStr):
                    yield "".join(sample(part) for part in argument.values)
                elif isinstance(argument, ast.Constant):
                    yield str(argument.value)


def sample(part: ast.expr) -> str:
    """Return a part of an f-string: its text, or an example of its value."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    expression = ast.unparse(part)
    if "stage" in expression or "app.name" in expression:
        return "project1"
    if "upper" in expression:
        return "DATABASE_URL"
    if "_describe_exit" in expression:
        return "project1 exited with status 1"
    return "describe" if "describe" in expression else "x7"


@pytest.mark.parametrize("message", sorted(set(messages())))
def test_every_message_has_a_translation(message: str) -> None:
    for line in message.splitlines():
        if line not in {"project1", "describe", "x7", "project1: x7"}:
            assert re.search("[\u4e00-\u9fff]", chinese(line)), line


@pytest.mark.parametrize(
    ("english", "expected"),
    [
        (
            "cannot listen on 127.0.0.1:8001 (Address already in use); PORT chooses another port",
            "无法监听 127.0.0.1:8001（地址已被占用）；用 PORT 换一个端口",
        ),
        (
            "OPENAI_BASE_URL is not set (`make run-project1` starts an embedded service for it); LLM_MODEL is not set",
            "没有设置 OPENAI_BASE_URL（`make run-project1` 会为它启动内嵌服务）；没有设置 LLM_MODEL",
        ),
        (
            "PORT: Input should be less than or equal to 65535; LOG_LEVEL: Input should be 'INFO' or 'DEBUG'",
            "PORT：不能大于 65535；LOG_LEVEL：只能是 'INFO' 或 'DEBUG'",
        ),
        (
            "the embedded PostgreSQL was killed by SIGKILL, see x.log; restarting in 0.5 s (1 of 5)",
            "内嵌的 PostgreSQL 被 SIGKILL 杀死，见 x.log；0.5 秒后重启（第 1 次，最多 5 次）",
        ),
        ("the embedded model server exited with status 1", "内嵌的模型服务退出，状态码 1"),
        ("project4: its database could not be migrated", "project4：数据库迁移失败"),
        ("a message without a template: {x}", "a message without a template: {x}"),
    ],
)
def test_message_is_translated_with_its_values(english: str, expected: str) -> None:
    assert chinese(english) == expected


@pytest.mark.parametrize(
    ("locale", "printed", "error"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "project1：已就绪\n", "错误：没有设置 LLM_MODEL\n"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "project1: ready\n", "error: LLM_MODEL is not set\n"),
        ({}, "project1: ready\n", "error: LLM_MODEL is not set\n"),
    ],
)
def test_locale_chooses_the_language(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    locale: dict[str, str],
    printed: str,
    error: str,
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)

    say("project1: ready")
    say_error("LLM_MODEL is not set")

    assert tuple(capsys.readouterr()) == (printed, error)
