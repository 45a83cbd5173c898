"""The content of a `langgraph.json`, as LangGraph's command line defines it.

Every key is one of three kinds: used by this service; for building an image, which has no meaning once the server runs;
or refused, because ignoring it would lose data or expose them.
"""

import difflib
import json
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from loguru import logger
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from shared.errors import ConfigurationError

IMAGE_KEYS = {
    *("$schema", "api_version", "base_image", "dockerfile_lines", "image_distro", "keep_pkg_tools", "node_version"),
    *("pip_config_file", "pip_installer", "python_version", "source", "_INTERNAL_docker_tag"),
}
# Where LangGraph's development server keeps the components that its bundler has built.
BUILT_UI = Path(".langgraph_api") / "ui"
_REFUSED = {
    "encryption": "this service calls no handlers for encryption; LANGGRAPH_AES_KEY encrypts checkpoints",
    "priority": "runs have no priority in this service",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class _Part(BaseModel):
    """A part of the file. Keys that this version does not know are ignored, as LangGraph's own server does."""

    model_config = ConfigDict(extra="ignore")
    ALIASES: ClassVar[Collection[str]] = ()


def _graph_name(name: str) -> str:
    if _CONTROL.search(name) or name != name.strip():
        raise ValueError("is not the name of a graph")
    try:
        UUID(name)
    except ValueError:
        return name
    raise ValueError("is an id, not a name")


class GraphEntry(_Part):
    """The location of a graph, and its description for users."""

    path: str
    description: str | None = None


def _entry(value: object) -> object:
    return {"path": value} if isinstance(value, str) else value


class AuthPart(_Part):
    """Custom authentication: an `Auth` object of LangGraph's SDK."""

    path: str
    disable_studio_auth: bool = False


class CorsPart(_Part):
    """Cross-origin requests, with the options of Starlette's middleware."""

    allow_origins: list[str] = []
    allow_methods: list[str] = ["GET"]
    allow_headers: list[str] = []
    allow_credentials: bool = False
    allow_origin_regex: str | None = None
    expose_headers: list[str] = []
    max_age: int = 600


class HeaderPatterns(_Part):
    """Names of headers, with `*` as a wildcard."""

    ALIASES = ("include", "exclude")

    includes: list[str] = []
    excludes: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _aliases(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: value.get(name) or value.get(name.removesuffix("s")) or [] for name in ("includes", "excludes")}


def _prefix(value: str | None) -> str | None:
    if value and (not value.startswith("/") or value.endswith("/")):
        raise ValueError("has to start with / and must not end with it")
    return value or None


class HttpPart(_Part):
    """The HTTP server: an application of the project, headers, and routes that are left out."""

    app: str | None = None
    cors: CorsPart | None = None
    configurable_headers: HeaderPatterns | None = None
    mount_prefix: Annotated[str | None, AfterValidator(_prefix)] = None
    enable_custom_route_auth: bool = False
    middleware_order: Literal["auth_first", "middleware_first"] | None = None
    disable_ui: bool = False
    disable_assistants: bool = False
    disable_threads: bool = False
    disable_runs: bool = False
    disable_store: bool = False
    disable_meta: bool = False
    disable_mcp: bool = False
    disable_a2a: bool = False
    disable_webhooks: bool = False


class IndexPart(_Part):
    """Semantic search in the store."""

    embed: str
    dims: int = Field(ge=1, le=4000)
    fields: list[str] | None = None


class StoreTtlPart(_Part):
    """Times to live of the store's items, in minutes."""

    default_ttl: float | None = Field(default=None, gt=0)
    refresh_on_read: bool = True


class _StoragePart(_Part):
    """A storage, which the file may place elsewhere: in code of the project, or in another database."""

    path: str | None = None
    backend: str | None = None

    def elsewhere(self) -> str | None:
        """Return the key that names another storage."""
        return "path" if self.path else "backend" if self.backend not in (None, "default") else None


class StorePart(_StoragePart):
    """The store of items."""

    index: IndexPart | None = None
    ttl: StoreTtlPart | None = None


class ThreadTtlPart(_Part):
    """The time to live of threads, in minutes."""

    strategy: Literal["delete", "keep_latest"] = "delete"
    default_ttl: float | None = Field(default=None, gt=0)


class CheckpointerPart(_StoragePart):
    """The storage of threads."""

    ttl: ThreadTtlPart | None = None


class WebhookUrlPart(_Part):
    """Addresses that webhooks may call."""

    require_https: bool = False
    allowed_domains: list[str] = []
    allowed_ports: list[int] = []
    max_url_length: int | None = None


class WebhooksPart(_Part):
    """Calls at the end of runs."""

    env_prefix: str = "LG_WEBHOOK_"
    url: WebhookUrlPart = WebhookUrlPart()
    headers: dict[str, str] = {}


def _environment(value: object) -> object:
    if isinstance(value, dict):
        return {name: each if isinstance(each, str) else json.dumps(each) for name, each in value.items()}
    return value


class ProjectFile(_Part):
    """The keys that this service uses."""

    graphs: dict[
        Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_graph_name)],
        Annotated[GraphEntry, BeforeValidator(_entry)],
    ] = Field(min_length=1)
    dependencies: list[str] = []
    env: Annotated[dict[str, str] | str, BeforeValidator(_environment)] = {}
    auth: AuthPart | None = None
    http: HttpPart = HttpPart()
    store: StorePart = StorePart()
    checkpointer: CheckpointerPart = CheckpointerPart()
    webhooks: WebhooksPart | None = None
    ui: dict[str, str] = {}
    ui_config: dict[str, Any] = {}

    def storage_elsewhere(self) -> str | None:
        """Return the first key by which threads or items would be stored elsewhere than in this service's database."""
        for name, part in (("checkpointer", self.checkpointer), ("store", self.store)):
            if key := part.elsewhere():
                return f"{name}.{key}"
        return None


def parse(path: Path) -> ProjectFile:
    """Read a `langgraph.json`, and log which keys have no effect.

    Raises:
        ConfigurationError: with one line that names the key and its fault.
    """
    try:
        content: Any = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"LANGGRAPH_CONFIG: {path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} has to be a JSON object")
    content = {key: value for key, value in content.items() if value is not None}
    _check_keys(path, content)
    try:
        file = ProjectFile.model_validate({key: content[key] for key in content if key in ProjectFile.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in first["loc"])
        where = where.removesuffix(".[key]")
        raise ConfigurationError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from None
    if key := file.storage_elsewhere():
        logger.warning("{}: {} is ignored, and refused in production: this service stores the data itself", path, key)
    if file.ui and not file.http.disable_ui and not (path.parent / BUILT_UI / "schemas.json").is_file():
        logger.warning("{}: ui: not built; build it with: {}", path, _build_ui(file))
    if unused := sorted(_unused(file, {key: content[key] for key in file.model_fields_set})):
        logger.warning("{}: without effect here: {}", path, ", ".join(unused))
    return file


def _build_ui(file: ProjectFile) -> str:
    """Return the command that builds the UI components with LangGraph's bundler."""
    variables = {"LANGGRAPH_UI": file.ui} | ({"LANGGRAPH_UI_CONFIG": file.ui_config} if file.ui_config else {})
    set_here = [f"{name}={shlex.quote(json.dumps(value))}" for name, value in variables.items()]
    return " ".join([*set_here, "npx @langchain/langgraph-ui build -o", BUILT_UI.as_posix()])


def _unused(part: object, content: object) -> Iterator[str]:
    """Yield the keys in a part of the file that this service does not use."""
    if not isinstance(part, _Part) or not isinstance(content, dict):
        return
    for name, value in content.items():
        if name in type(part).model_fields:
            yield from (f"{name}.{key}" for key in _unused(getattr(part, name), value))
        elif name not in part.ALIASES:
            yield name


def _check_keys(path: Path, content: Mapping[str, Any]) -> None:
    for key, reason in _REFUSED.items():
        if content.get(key):
            raise ConfigurationError(f"{path}: {key!r} is not supported: {reason}")
    if build := sorted(IMAGE_KEYS & content.keys() - {"$schema"}):
        logger.info("{}: {} are for building an image and have no effect here", path, ", ".join(build))
    for key in content.keys() - ProjectFile.model_fields.keys() - IMAGE_KEYS - _REFUSED.keys():
        near = difflib.get_close_matches(key, [*ProjectFile.model_fields, *IMAGE_KEYS, *_REFUSED], n=1)
        logger.warning("{}: there is no key {!r}{}; it is ignored", path, key, f" (is it {near[0]!r}?)" if near else "")
