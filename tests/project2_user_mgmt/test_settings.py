"""The database's address: checked, and its password seen nowhere."""

import pytest

from project2_user_mgmt.settings import Settings
from shared.errors import ConfigurationError
from shared.settings import load_settings

PASSWORD = "p4ssw0rd-of-the-database"


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://model.example/v1")
    monkeypatch.setenv("LLM_MODEL", "m")
    return monkeypatch


def test_database_password_is_a_secret(env: pytest.MonkeyPatch) -> None:
    env.setenv("DATABASE_URL", f"postgresql://app:{PASSWORD}@db.example/app")

    settings = load_settings(Settings)

    assert PASSWORD not in repr(settings)
    assert PASSWORD in settings.secrets()
    assert settings.port == 8002


@pytest.mark.parametrize("address", ["mysql://h/d", "db.example", "sqlite:///x"])
def test_other_database_kind_is_rejected_in_one_line(env: pytest.MonkeyPatch, address: str) -> None:
    env.setenv("DATABASE_URL", address)

    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL: must be a postgresql:// address$"):
        load_settings(Settings)


def test_missing_address_names_the_launcher(env: pytest.MonkeyPatch) -> None:
    env.delenv("DATABASE_URL", raising=False)

    with pytest.raises(ConfigurationError, match=r"DATABASE_URL is not set \(`make run-project2` starts"):
        load_settings(Settings)


def test_installed_package_does_not_name_make(env: pytest.MonkeyPatch) -> None:
    env.delenv("DATABASE_URL", raising=False)
    env.setattr("shared.settings._IS_CHECKOUT", False)

    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL is not set$"):
        load_settings(Settings)
