"""Names that LangGraph's server, Langfuse and LangSmith use for this service's variables."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from project4_agent_api.aliases import ALIASES, own_names
from project4_agent_api.settings import Settings
from shared.errors import ConfigurationError

ROOT = Path(__file__).parents[3]
LANGFUSE = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-2"}


@pytest.mark.parametrize("alias", ALIASES)
def test_alias_is_a_setting_of_this_service(alias: str) -> None:
    assert ALIASES[alias].lower() in Settings.model_fields
    assert own_names({alias: "7"}) == {ALIASES[alias]: "7"}


@pytest.mark.parametrize(
    "environment",
    [
        {"DATABASE_URI": "postgresql://x", "DATABASE_URL": "postgresql://x"},
        {"BG_JOB_TIMEOUT_SECS": "60", "RUN_TIMEOUT_SECONDS": "60.0"},
        {"DATABASE_URI": "", "DATABASE_URL": "postgresql://x"},
        {"UNRELATED": "1"},
    ],
)
def test_own_name_with_the_same_value_is_kept(environment: dict[str, str]) -> None:
    assert own_names(environment) == {}


def test_two_aliases_with_one_value_are_one_variable() -> None:
    assert own_names({"DATABASE_URI": "postgresql://x", "POSTGRES_URI": "postgresql://x"}) == {
        "DATABASE_URL": "postgresql://x"
    }


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        (
            {"DATABASE_URL": "postgres://u:s3cret@a", "DATABASE_URI": "postgres://b"},
            "DATABASE_URL and DATABASE_URI",
        ),
        (
            {"DATABASE_URI": "postgres://u:s3cret@a", "POSTGRES_URI": "postgres://b"},
            "DATABASE_URI and POSTGRES_URI",
        ),
        ({"BG_JOB_MAX_RETRIES": "3", "RUN_ATTEMPTS": "4"}, "RUN_ATTEMPTS and BG_JOB_MAX_RETRIES"),
        (
            LANGFUSE | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector"},
            "OTEL_EXPORTER_OTLP_ENDPOINT and LANGFUSE_PUBLIC_KEY",
        ),
    ],
)
def test_different_values_are_one_line_without_them(environment: dict[str, str], names: str) -> None:
    with pytest.raises(ConfigurationError) as failure:
        own_names(environment)

    assert str(failure.value) == f"{names} are both set, to different values; unset one of them"


def test_langfuse_is_a_collector_with_basic_authentication(make_settings4: Callable[..., Settings]) -> None:
    own = own_names(LANGFUSE | {"LANGFUSE_HOST": "http://127.0.0.1:3000/"})
    settings = make_settings4(**{name.lower(): value for name, value in own.items()})

    assert settings.otel_exporter_otlp_endpoint == "http://127.0.0.1:3000/api/public/otel"
    assert settings.otlp_headers() == {"authorization": "Basic cGstbGYtMTpzay1sZi0y"}
    assert own_names(LANGFUSE)["OTEL_EXPORTER_OTLP_ENDPOINT"] == "https://cloud.langfuse.com/api/public/otel"


@pytest.mark.parametrize("name", LANGFUSE)
def test_half_of_the_keys_of_langfuse_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is set without LANGFUSE_"):
        own_names({name: "x"})


def test_encryption_of_other_fields_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="LANGGRAPH_AES_JSON_KEYS is not supported"):
        own_names({"LANGGRAPH_AES_KEY": "x", "LANGGRAPH_AES_JSON_KEYS": "input"})


def test_commands_take_aliases_from_the_environment_and_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URI=postgresql://app@127.0.0.1:1/x\nLANGSMITH_PROJECT=demo\n")
    code = (
        "import os; from project4_agent_api.aliases import apply_aliases; apply_aliases()\n"
        "print(os.environ['DATABASE_URL'], os.environ['LANGSMITH_PROJECT'])"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}

    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    conflicting = subprocess.run(
        [sys.executable, "-P", "-m", "project4_agent_api", "migrate"],
        cwd=tmp_path,
        env=environment | {"DATABASE_URL": "postgresql://app:s3cret@127.0.0.1:2/y"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert shown.stdout.split() == ["postgresql://app@127.0.0.1:1/x", "demo"]
    assert (conflicting.returncode, conflicting.stderr) == (
        2,
        "error: DATABASE_URL and DATABASE_URI are both set, to different values; unset one of them\n",
    )
