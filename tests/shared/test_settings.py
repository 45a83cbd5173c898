"""Settings: read, checked, frozen; an error is one line."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from project1_qa_api.settings import Settings
from shared.errors import ConfigurationError
from shared.settings import load_settings

GIVEN = {"OPENAI_BASE_URL": "http://model.example/v1/", "LLM_MODEL": "m"}


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_settings_come_from_the_environment(env: pytest.MonkeyPatch) -> None:
    env.setenv("LLM_FALLBACK_MODELS", "a, b,")
    env.setenv("CORS_ORIGINS", "https://a.example,https://b.example")
    env.setenv("LOG_LEVEL", "debug")

    settings = load_settings(Settings)

    assert settings.openai_base_url == "http://model.example/v1"
    assert settings.llm_fallback_models == ("a", "b")
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.log_level == "DEBUG"
    assert settings.port == 8001


def test_extra_fields_are_json(env: pytest.MonkeyPatch) -> None:
    env.setenv("LLM_EXTRA_BODY", '{"chat_template_kwargs": {"enable_thinking": false}, "top_p": null}')
    env.setenv("LLM_MODEL_OPTIONS", '{"m": {"temperature": 1}}')

    settings = load_settings(Settings)

    assert settings.llm_extra_body == {"chat_template_kwargs": {"enable_thinking": False}, "top_p": None}
    assert settings.llm_model_options == {"m": {"temperature": 1}}


def test_empty_variable_counts_as_unset(env: pytest.MonkeyPatch) -> None:
    env.setenv("PORT", "")
    env.setenv("OPENAI_BASE_URL", "")

    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL is not set"):
        load_settings(Settings)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "many", "PORT: "),
        ("PORT", "70000", "PORT: "),
        ("APP_ENV", "staging", "APP_ENV: "),
        ("OPENAI_BASE_URL", "model.example", "OPENAI_BASE_URL: must be an http"),
        ("OPENAI_BASE_URL", "http://", "OPENAI_BASE_URL: must be an http"),
        ("LLM_TIMEOUT_SECONDS", "0", "LLM_TIMEOUT_SECONDS: "),
        ("BATCH_CONCURRENCY", "0", "BATCH_CONCURRENCY: "),
        ("LLM_EXTRA_BODY", "top_k=20", "LLM_EXTRA_BODY: must be a JSON object"),
        ("LLM_EXTRA_BODY", "[1]", "LLM_EXTRA_BODY: must be a JSON object"),
        ("LLM_EXTRA_BODY", '{"a": NaN}', "LLM_EXTRA_BODY: must be a JSON object"),
        ("LLM_EXTRA_BODY", '{"a": 1e999}', "LLM_EXTRA_BODY: must be a JSON object"),
        ("LLM_EXTRA_BODY", '{"a": "\\ud800"}', "LLM_EXTRA_BODY: must be a JSON object"),
        ("LLM_EXTRA_BODY", "[" * 10_000, "LLM_EXTRA_BODY: must be a JSON object"),
        ("LLM_EXTRA_BODY", '{"model": "x", "messages": []}', "LLM_EXTRA_BODY: must not contain messages, model"),
        ("LLM_MODEL_OPTIONS", '{"temperature": 1}', "LLM_MODEL_OPTIONS: must be a JSON object of objects"),
        ("LLM_MODEL_OPTIONS", '{"m": {"stream": false}}', "LLM_MODEL_OPTIONS: must not contain stream"),
    ],
)
def test_invalid_setting_is_one_line(env: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    env.setenv(name, value)

    with pytest.raises(ConfigurationError) as caught:
        load_settings(Settings)

    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_all_invalid_settings_are_reported(env: pytest.MonkeyPatch) -> None:
    env.delenv("OPENAI_BASE_URL")
    env.delenv("LLM_MODEL")

    with pytest.raises(ConfigurationError, match=r"OPENAI_BASE_URL is not set .*; LLM_MODEL is not set"):
        load_settings(Settings)


def test_invalid_key_is_not_echoed(env: pytest.MonkeyPatch) -> None:
    env.setenv("LLM_MAX_RETRIES", "sk-secret")

    with pytest.raises(ConfigurationError) as caught:
        load_settings(Settings)

    assert "sk-secret" not in str(caught.value)


def test_production_trusts_all_private_networks(env: pytest.MonkeyPatch) -> None:
    env.setenv("APP_ENV", "production")
    env.setenv("FORWARDED_ALLOW_IPS", "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7")

    assert len(load_settings(Settings).forwarded_allow_ips) == 4


@pytest.mark.parametrize("origin", ["*", "https://app.example.com,null"])
def test_production_rejects_origins_of_everyone(env: pytest.MonkeyPatch, origin: str) -> None:
    env.setenv("APP_ENV", "production")
    env.setenv("CORS_ORIGINS", origin)

    with pytest.raises(ConfigurationError, match="CORS_ORIGINS must name its origins in production"):
        load_settings(Settings)


@pytest.mark.usefixtures("env")
def test_settings_are_immutable() -> None:
    settings = load_settings(Settings)

    with pytest.raises(ValidationError, match="frozen"):
        settings.__setattr__("port", 1)  # written out: the type checker refuses the assignment


def test_missing_variables_are_read_from_secrets(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "openai_api_key").write_text("sk-from-a-file\n")
    (tmp_path / "llm_model").write_text("from-a-file")
    env.setenv("SECRETS_DIR", str(tmp_path))
    env.setenv("OPENAI_API_KEY", "")

    settings = load_settings(Settings)

    assert settings.openai_api_key.get_secret_value() == "sk-from-a-file"
    assert settings.llm_model == "m"  # what the environment says wins
    assert "sk-from-a-file" in settings.secrets()


def test_addresses_and_extra_fields_do_not_show_their_keys(env: pytest.MonkeyPatch) -> None:
    env.setenv("OPENAI_BASE_URL", "https://gateway:hunter22@model.example/v1")
    env.setenv("LLM_EXTRA_BODY", '{"data_sources": [{"key": "azure-key"}]}')
    env.setenv("LLM_MODEL_OPTIONS", '{"m": {"key": "model-key"}}')

    settings = load_settings(Settings)

    assert "hunter22" in settings.secrets()
    assert not [key for key in ("hunter22", "azure-key", "model-key") if key in repr(settings)]


def test_secrets_folder_is_optional(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    env.setenv("SECRETS_DIR", str(tmp_path / "nothing"))

    assert load_settings(Settings).openai_api_key.get_secret_value() == ""


def test_proxies_are_addresses_or_networks(env: pytest.MonkeyPatch) -> None:
    env.setenv("FORWARDED_ALLOW_IPS", "127.0.0.1, 172.30.251.0/24")

    assert load_settings(Settings).forwarded_allow_ips == ("127.0.0.1", "172.30.251.0/24")

    env.setenv("FORWARDED_ALLOW_IPS", "proxy.example.com")
    with pytest.raises(ConfigurationError, match=r"^FORWARDED_ALLOW_IPS: 'proxy.example.com' does not appear to be"):
        load_settings(Settings)


@pytest.mark.parametrize(
    "url", ["https://key-of-a-gateway@model.example/v1", "https://model.example/v1?key=key-of-a-gateway"]
)
def test_key_in_an_address_is_a_secret(env: pytest.MonkeyPatch, url: str) -> None:
    env.setenv("OPENAI_BASE_URL", url)

    assert "key-of-a-gateway" in load_settings(Settings).secrets()


@pytest.mark.parametrize(
    "everyone", ["*", "0.0.0.0/0", "::/0", "0.0.0.0/1,128.0.0.0/1", "10.0.0.0/8,2000::/3", "0.0.0.0/4"]
)
def test_production_trusts_listed_proxies_only(env: pytest.MonkeyPatch, everyone: str) -> None:
    env.setenv("APP_ENV", "production")
    env.setenv("FORWARDED_ALLOW_IPS", everyone)

    with pytest.raises(ConfigurationError, match="FORWARDED_ALLOW_IPS must name the proxies in production"):
        load_settings(Settings)
