"""Names of environment variables that LangGraph's server, Langfuse and LangSmith use, as settings of this service.

`docs/agent-api.md` has the table. A variable whose own name and alias are both set has to have one value.
"""

import base64
import os
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from dotenv import dotenv_values

from shared.errors import ConfigurationError
from shared.settings import secrets_folder

# In the order in which LangGraph's server prefers them.
ALIASES = {
    "POSTGRES_URI_CUSTOM": "DATABASE_URL",
    "DATABASE_URI": "DATABASE_URL",
    "POSTGRES_URI": "DATABASE_URL",
    "REDIS_URI_CUSTOM": "REDIS_URL",
    "REDIS_URI": "REDIS_URL",
    "REDIS_KEY_PREFIX": "REDIS_PREFIX",
    "N_JOBS_PER_WORKER": "WORKER_CONCURRENCY",
    "BG_JOB_TIMEOUT_SECS": "RUN_TIMEOUT_SECONDS",
    "BG_JOB_MAX_RETRIES": "RUN_ATTEMPTS",  # LangGraph's server counts attempts, too
    "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "SHUTDOWN_TIMEOUT_SECONDS",
    "RESUMABLE_STREAM_TTL_SECONDS": "RUN_EVENTS_SECONDS",
    "LANGGRAPH_POSTGRES_POOL_MAX_SIZE": "DB_POOL_SIZE",
    "CORS_ALLOW_ORIGINS": "CORS_ORIGINS",
}
_LANGFUSE_KEYS = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")
_LANGFUSE_HOSTS = ("LANGFUSE_BASE_URL", "LANGFUSE_HOST")
_LANGFUSE_CLOUD = "https://cloud.langfuse.com"
_JSON_KEYS = "LANGGRAPH_AES_JSON_KEYS"
# LangChain's own tracer reads these from the environment.
_TRACER_PREFIXES = ("LANGSMITH_", "LANGCHAIN_")


def apply_aliases() -> None:
    """Set the variables of this service whose aliases are set, in the environment or in `.env`.

    Raises:
        ConfigurationError: with one line that names two variables with different values, and neither value.
    """
    dotenv = dotenv_values(".env")
    environment = {name: value for name, value in (_from_secrets() | dotenv | os.environ).items() if value}
    os.environ.update(own_names(environment))
    os.environ.update(
        {name: value for name, value in environment.items() if name.startswith(_TRACER_PREFIXES) and name in dotenv}
    )


def own_names(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of this service that only have aliases in an environment.

    Raises:
        ConfigurationError: with one line that names two variables with different values, and neither value, or a
            variable that is not supported.
    """
    if environment.get(_JSON_KEYS):
        raise ConfigurationError(f"{_JSON_KEYS} is not supported: this service encrypts checkpoints only; unset it")
    found: dict[str, tuple[str, str]] = {}
    for alias, name, value in _aliased(environment):
        other, existing = found.get(name) or (name, environment.get(name) or value)
        if not _equal(existing, value):
            raise ConfigurationError(f"{other} and {alias} are both set, to different values; unset one of them")
        found.setdefault(name, (alias, value))
    return {name: value for name, (_, value) in found.items() if not environment.get(name)}


def _aliased(environment: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield the aliases that are set, with their own names and values."""
    for alias, name in ALIASES.items():
        if value := environment.get(alias):
            yield alias, name, value
    public, secret = (environment.get(name, "") for name in _LANGFUSE_KEYS)
    if bool(public) != bool(secret):
        present, missing = _LANGFUSE_KEYS if public else reversed(_LANGFUSE_KEYS)
        raise ConfigurationError(f"{present} is set without {missing}")
    if public:
        hosts = [(name, value) for name in _LANGFUSE_HOSTS if (value := environment.get(name))]
        for name, host in hosts or [(_LANGFUSE_KEYS[0], _LANGFUSE_CLOUD)]:
            yield name, "OTEL_EXPORTER_OTLP_ENDPOINT", f"{host.rstrip('/')}/api/public/otel"
        credentials = base64.b64encode(f"{public}:{secret}".encode()).decode()
        yield _LANGFUSE_KEYS[1], "OTEL_EXPORTER_OTLP_HEADERS", f"Authorization={quote(f'Basic {credentials}')}"


def _equal(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one.strip() == other.strip()


def _from_secrets() -> dict[str, str]:
    """Return the variables that the secrets folder has, and that have aliases."""
    folder = secrets_folder()
    files = {name: folder / name.lower() for name in ALIASES.values()} if folder else {}
    return {name: file.read_text() for name, file in files.items() if file.is_file()}
