"""The launcher's messages in the language of the terminal: English, or Chinese if the locale is Chinese.

Messages are raised and printed in English, here and in `shared`. For the terminal, their templates are looked up
below; a message without one stays English.
"""

import os
import re
import sys
from collections.abc import Mapping
from typing import IO, Literal

_CHINESE = {
    # Names, which occur inside messages.
    "the embedded model server": "内嵌的模型服务",
    "the embedded PostgreSQL": "内嵌的 PostgreSQL",
    "the embedded Valkey": "内嵌的 Valkey",
    "{STAGE}'s worker": "{STAGE} 的 worker",
    "its database could not be migrated": "数据库迁移失败",
    "{COMMAND} failed": "{COMMAND} 失败",
    "no reason given": "没有给出原因",
    "Address already in use": "地址已被占用",
    "Cannot assign requested address": "本机没有这个地址",
    "Permission denied": "没有权限",
    "No space left on device": "磁盘已满",
    "Read-only file system": "文件系统只读",
    "Not a directory": "不是文件夹",
    "File exists": "已有同名文件",
    "{NAME} or {OTHER}": "{NAME} 或 {OTHER}",
    # The way of a stage.
    "{STAGE}: {NAME} is not set; starting {service}": "{STAGE}：没有设置 {NAME}，启动{service}",
    "{STAGE}: creating a database in {folder}": "{STAGE}：正在 {folder} 中创建数据库",
    "{STAGE}: {NAME} is ignored without {OTHERS}": "{STAGE}：没有设置 {OTHERS}，忽略 {NAME}",
    "{STAGE}: {NAME} is ignored with {OTHERS}": "{STAGE}：已设置 {OTHERS}，忽略 {NAME}",
    "{STAGE}: {free} MB of memory are free, and about {needed} MB are needed; the system may kill a process": (
        "{STAGE}：空闲内存只有 {free} MB，大约需要 {needed} MB；系统可能会杀死某个进程"
    ),
    "{STAGE}: ready": "{STAGE}：已就绪",
    "  page      {url}": "  网页      {url}",
    "  API docs  {url}": "  接口文档  {url}",
    "  model     {url}": "  模型      {url}",
    "  chapter   {name}": "  章节      {name}",
    "  {service} logs to {file}": "  {service}的日志在 {file}",
    "Ctrl-C stops everything.": "按 Ctrl-C 全部停止。",
    "{STAGE}: stopped": "{STAGE}：已停止",
    "{STAGE}: process {pid} does not stop": "{STAGE}：进程 {pid} 停不下来",
    # Processes that end by themselves.
    "{exit}; restarting in {seconds} s ({number} of {most})": "{exit}；{seconds} 秒后重启（第 {number} 次，"
    "最多 {most} 次）",
    "{exit}; waiting for a change": "{exit}；等待修改",
    "{process} exited with status {code}, see {file}": "{process}退出，状态码 {code}，见 {file}",
    "{process} exited with status {code}": "{process}退出，状态码 {code}",
    "{process} was killed by {signal}, see {file}": "{process}被 {signal} 杀死，见 {file}",
    "{process} was killed by {signal}": "{process}被 {signal} 杀死",
    # Reasons for which a stage does not start.
    "there is no stage {STAGE}; there are: {names}": "没有 {STAGE}；现有：{names}",
    "{STAGE} has no chapters; run it without CHAPTER": "{STAGE} 没有章节；运行时不要写 CHAPTER",
    "{STAGE} has no chapter {name}; there are: {names}": "{STAGE} 没有章节 {name}；现有：{names}",
    "{STAGE} is already running here (process {pid}); `kill {pid2}` stops it": "{STAGE} 已经在这里运行（进程 {pid}）；"
    "用 `kill {pid2}` 停止",
    "{STAGE} is still starting; try again when it is ready": "{STAGE} 还在启动；就绪之后再试",
    "cannot write to {folder} ({reason})": "无法写入 {folder}（{reason}）",
    "cannot listen on {address} ({reason}); PORT chooses another port": "无法监听 {address}（{reason}）；"
    "用 PORT 换一个端口",
    "the package {name} is not installed; `make setup` installs it": "没有安装 {name}；运行 `make setup` 安装",
    "the embedded PostgreSQL cannot create a database: {reason}": "内嵌的 PostgreSQL 无法创建数据库：{reason}",
    "{STAGE}: {reason}": "{STAGE}：{reason}",
    # The embedded language models.
    "EMBEDDED_MODEL and LOCAL_LLM_GGUF are both set; unset one of them": "EMBEDDED_MODEL 和 LOCAL_LLM_GGUF"
    " 只能设置一个",
    "EMBEDDED_MODEL: there is no {name}; there are: {names}": "EMBEDDED_MODEL：没有 {name}；现有：{names}",
    "LOCAL_LLM_GGUF: there is no file {file}": "LOCAL_LLM_GGUF：没有文件 {file}",
    "{name} is being installed; waiting": "{name} 正在安装，请等待",
    "installing {name} into {folder}: {size} MB to download, once": "正在把 {name} 装到 {folder}："
    "只需下载一次，{size} MB",
    "  part {number} of {parts}": "  第 {number} 部分，共 {parts} 部分",
    "{name} is not installed; {command} installs it": "没有安装 {name}；运行 {command} 安装",
    "{name} is not installed completely; the next start continues": "{name} 还没有装完；下次启动会继续",
    "{name} could not be installed: its checksum is wrong; it was deleted": "{name} 安装失败：校验和不对，已删除",
    "{name} could not be installed: {reason}: {folder}": "{name} 安装失败：{reason}：{folder}",
    "{name} could not be installed: {reason}": "{name} 安装失败：{reason}",
    "{name} needs {size} MB in {folder}; {free} MB are free": "{name} 需要 {folder} 中有 {size} MB；只剩 {free} MB",
    # Invalid variables: `shared.settings`, and Pydantic's words.
    "{NAME} is not set ({command} starts an embedded service for it)": "没有设置 {NAME}"
    "（{command} 会为它启动内嵌服务）",
    "{NAME} is not set": "没有设置 {NAME}",
    "{NAME}: {reason}": "{NAME}：{reason}",
    "Input should be a valid integer, {rest}": "应为整数",
    "Input should be a valid number, {rest}": "应为数字",
    "Input should be a valid boolean, {rest}": "应为 true 或 false",
    "Input should be greater than or equal to {number}": "不能小于 {number}",
    "Input should be less than or equal to {number}": "不能大于 {number}",
    "Input should be greater than {number}": "应大于 {number}",
    "Input should be less than {number}": "应小于 {number}",
    "Input should be {a} or {b}": "只能是 {a} 或 {b}",
    "String should match pattern '^({values})$'": "只能是 {values} 之一",
    "String should have at least {number} character": "至少 {number} 个字符",
    "String should have at least {number} characters": "至少 {number} 个字符",
    "must be an http:// or https:// address": "必须以 http:// 或 https:// 开头",
}
# Patterns of placeholders in capitals: the name of a variable, a stage or a command. Others take any text.
_WORDS = {"STAGE": r"[a-z][\w-]*(?:'s worker)?", "COMMAND": r"[a-z][\w-]*"}
_ESCAPED = re.compile(r"\\\{(\w+)\\\}")
_PLACEHOLDER = re.compile(r"\{(\w+)\}(?=([\u4e00-\u9fff])?)")


def _pattern(template: str) -> re.Pattern[str]:
    def group(found: re.Match[str]) -> str:
        name = found[1]
        return f"(?P<{name}>{_WORDS.get(name, r'[A-Z][A-Z0-9_.a-z, ]*' if name.isupper() else '.+?')})"

    return re.compile(_ESCAPED.sub(group, re.escape(template)))


_PATTERNS = {_pattern(template): chinese for template, chinese in _CHINESE.items()}


def terminal_language() -> Literal["en", "zh"]:
    """Return the language of the terminal: Chinese if the locale is Chinese, otherwise English."""
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def chinese(message: str) -> str:
    """Return a message of one or more lines in Chinese, as far as there are templates for it."""
    if "\n" in message:
        return "\n".join(chinese(line) for line in message.splitlines())
    parts = message.split("; ")  # a line on several variables
    if len(parts) > 1 and all(chinese(part) != part for part in parts):
        return "；".join(map(chinese, parts))
    for pattern, template in _PATTERNS.items():
        if found := pattern.fullmatch(message):
            return _filled(template, {name: chinese(value) for name, value in found.groupdict().items()})
    return message


def _filled(template: str, values: Mapping[str, str]) -> str:
    """Fill in a template, with a space between a value in Latin letters and a Chinese character."""

    def fill(found: re.Match[str]) -> str:
        value = values[found[1]]
        return f"{value} " if found[2] and value[-1:].isascii() and value[-1:].isalnum() else value

    return _PLACEHOLDER.sub(fill, template)


def say(message: str, file: IO[str] | None = None) -> None:
    """Print a message in the terminal's language."""
    print(chinese(message) if terminal_language() == "zh" else message, file=file or sys.stdout, flush=True)


def say_error(message: object) -> None:
    """Print an error in the terminal's language."""
    if terminal_language() == "zh":
        print(f"错误：{chinese(str(message))}", file=sys.stderr, flush=True)
    else:
        print(f"error: {message}", file=sys.stderr, flush=True)
