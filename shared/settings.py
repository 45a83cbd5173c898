"""Settings, read once from the environment, `.env` and secret files, validated, and frozen.

The `Settings` of each stage inherit those of the previous stage, and add new fields.
"""

import ipaddress
import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.address import split_address
from shared.errors import ConfigurationError


class AppEnv(StrEnum):
    """Deployment environment."""

    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")) or len(value.split("://", 1)[1].strip("/")) == 0:
        raise ValueError("must be an http:// or https:// address")
    return value.rstrip("/")


HttpAddress = Annotated[str, AfterValidator(_http_url)]  # it may hold a password: its fields have `repr=False`


def _split_commas(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_commas)]


def _json_object(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
        # Endpoints refuse NaN, 1e999 and lone surrogates.
        json.dumps(parsed, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise ValueError('must be a JSON object, such as {"top_k": 20}')  # noqa: TRY004  Pydantic wants a ValueError
    return parsed


def _extra_fields(value: dict[str, Any]) -> dict[str, Any]:
    if reserved := sorted(_RESERVED_FIELDS & value.keys()):
        raise ValueError(f"must not contain {', '.join(reserved)}")
    return value


def _options_by_model(value: dict[str, Any]) -> dict[str, dict[str, Any]]:
    for fields in value.values():
        if not isinstance(fields, dict):
            raise ValueError('must be a JSON object of objects, such as {"model": {"top_k": 20}}')  # noqa: TRY004  Pydantic reports a ValueError
        _extra_fields(fields)
    return value


_RESERVED_FIELDS = {"messages", "model", "input", "tools", "stream", "n"}
# Not shown in representations: the fields may contain keys, such as those of Azure's `data_sources`.
_JsonObject = Annotated[dict[str, Any], NoDecode, BeforeValidator(_json_object), Field(repr=False)]
ExtraFields = Annotated[_JsonObject, AfterValidator(_extra_fields)]
FieldsByModel = Annotated[_JsonObject, AfterValidator(_options_by_model)]


class Settings(BaseSettings):
    """Settings of every stage. Environment variables have the fields' names in capitals.

    The environment takes precedence over `.env`, and both over the secrets folder, which has a file for each field.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    app_env: AppEnv = Field(
        default=AppEnv.DEVELOPMENT, description="`production` refuses settings that are for development only."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on.")
    log_level: str = Field(
        default="INFO", pattern="^(TRACE|DEBUG|INFO|WARNING|ERROR)$", description="Lowest level that is logged."
    )
    root_path: str = Field(default="", description="Path prefix under which a proxy serves the app.")
    forwarded_allow_ips: CommaSeparated = Field(
        default=("127.0.0.1",),
        description="Trusted proxies, whose `X-Forwarded-For` is used: addresses or networks, separated by commas.",
    )
    shutdown_timeout_seconds: int = Field(
        default=10, ge=1, description="Maximum time for open requests to finish after a stop signal."
    )
    drain_seconds: float = Field(
        default=0,
        ge=0,
        description="Time for which a process keeps serving after a stop signal, while `/ready` fails, until load "
        "balancers have noticed.",
    )
    max_body_kb: int = Field(default=1024, ge=1, description="Maximum request body in KiB; larger ones get a 413.")
    cors_origins: CommaSeparated | None = Field(
        default=None,
        description="Origins whose pages may call the API, separated by commas. Default: none in production, any "
        "loopback origin otherwise.",
    )

    xray_enabled: bool = Field(
        default=False,
        description="Whether the page shows the X-ray of requests, with prompts and SQL; in development only.",
    )
    xray_editor_url: str = Field(
        default="vscode://file/{path}:{line}", description="Address that opens a line in your editor."
    )
    xray_control: str = Field(default="", description="Socket of the launcher's control, which the launcher sets.")

    openai_base_url: HttpAddress = Field(
        repr=False, description="Endpoint of the models, which ends in `/v1` for most."
    )
    openai_api_key: SecretStr = Field(default=SecretStr(""), description="API key of OPENAI_BASE_URL.")
    llm_model: str = Field(min_length=1, description="Name of the chat model.")
    llm_fallback_models: CommaSeparated = Field(
        default=(),
        description="Models of the same endpoint that are tried in this order if the previous one fails.",
    )
    llm_timeout_seconds: float = Field(
        default=60,
        gt=0,
        description="Maximum time for a model to answer, retries included; in a stream, between two chunks.",
    )
    llm_max_retries: int = Field(default=2, ge=0, le=10, description="Maximum retries of a failed call of a model.")
    llm_extra_body: ExtraFields = Field(
        default={},
        description="Fields of every chat request, as a JSON object; `null` removes one. They win over the service's.",
    )
    llm_model_options: FieldsByModel = Field(
        default={},
        description="Further fields for single models, as a JSON object of objects by model; they win over both.",
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("forwarded_allow_ips", mode="after")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            if address != "*":
                ipaddress.ip_network(address)
        return value

    @model_validator(mode="after")
    def _no_wildcard_in_production(self) -> Self:
        if self.production and not _are_proxies(self.forwarded_allow_ips):
            raise ValueError("FORWARDED_ALLOW_IPS must name the proxies in production, not everyone")
        for origin in ("*", "null"):  # every sandboxed frame has the origin null
            if self.production and origin in (self.cors_origins or ()):
                raise ValueError(f"CORS_ORIGINS must name its origins in production, not {origin}")
        return self

    @model_validator(mode="after")
    def _no_xray_in_production(self) -> Self:
        if self.production and self.xray_enabled:
            raise ValueError("XRAY_ENABLED must be false in production: the X-ray shows prompts and SQL")
        return self

    @property
    def production(self) -> bool:
        """Whether this is a production environment."""
        return self.app_env is AppEnv.PRODUCTION

    def secrets(self) -> list[str]:
        """Return the values that must never appear in a log."""
        values = [getattr(self, name) for name in type(self).model_fields]
        texts = [value for value in values if isinstance(value, str) and value.startswith(("http://", "https://"))]
        return [
            *(value.get_secret_value() for value in values if isinstance(value, SecretStr) and value),
            *(secret for text in texts for secret in _secrets_in_address(text)),
        ]


def _secrets_in_address(url: str) -> set[str]:
    """Return the password of an address, or its user if it has none, and the values of its query, in both forms."""
    address = split_address(url.partition("://")[2])
    if address is None:
        return set()
    encoded = {address.password or address.user, *(pair.partition("=")[2] for pair in address.query.split("&"))}
    return {text for value in encoded if value for text in (value, unquote(value))}


_IS_CHECKOUT = (Path(__file__).parents[1] / "Makefile").is_file()  # unlike an installed package or an image
_MAX_PROXY_ADDRESSES = {4: 2**24, 6: 2**121}  # 10.0.0.0/8 and fc00::/7, the largest private networks


def _are_proxies(addresses: tuple[str, ...]) -> bool:
    """Return whether addresses and networks are few enough to be those of proxies, also if they are listed in parts."""
    if "*" in addresses:
        return False
    counts = {4: 0, 6: 0}
    for address in addresses:
        network = ipaddress.ip_network(address)
        counts[network.version] += network.num_addresses
    return all(counts[version] <= 2 * limit for version, limit in _MAX_PROXY_ADDRESSES.items())


SettingsT = TypeVar("SettingsT", bound=Settings)


def secrets_folder() -> Path | None:
    """Return the folder of secret files, if it exists: `SECRETS_DIR`, or the default of containers."""
    folder = Path(os.environ.get("SECRETS_DIR") or "/run/secrets")
    return folder if folder.is_dir() else None


def load_settings(cls: type[SettingsT]) -> SettingsT:
    """Read a stage's settings.

    Raises:
        ConfigurationError: with one line that names every missing or invalid variable.
    """
    try:
        return cls(_secrets_dir=secrets_folder())
    except ValidationError as error:
        raise ConfigurationError(
            "; ".join(_explain(cls, item["loc"], item["msg"]) for item in error.errors())
        ) from None


def _explain(cls: type[Settings], loc: tuple[int | str, ...], message: str) -> str:
    if not loc:
        return message.removeprefix("Value error, ")
    name = ".".join([str(loc[0]).upper(), *map(str, loc[1:])])
    if message == "Field required" and len(loc) == 1:
        module = cls.__module__.split(".", maxsplit=1)[0].split("_", maxsplit=1)[0]
        hint = f" (`make run-{module}` starts an embedded service for it)" if _IS_CHECKOUT else ""
        return f"{name} is not set{hint}"
    return f"{name}: {message.removeprefix('Value error, ')}"
