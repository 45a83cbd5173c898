import pytest
from pydantic import SecretStr, ValidationError

NAMES = ("ENVIRONMENT", "DATABASE_URL", "POOL_SIZE", "JWT_SECRET")


@pytest.fixture
def environ(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/app")
    return monkeypatch


def test_development_needs_an_address_only(exercise, environ):
    settings = exercise.Settings()
    assert (settings.environment, settings.pool_size) == ("development", 5)


def test_missing_address_is_an_error(exercise, environ):
    environ.delenv("DATABASE_URL")
    with pytest.raises(ValidationError, match="database_url"):
        exercise.Settings()


def test_environment_is_read_and_checked(exercise, environ):
    environ.setenv("ENVIRONMENT", "test")
    environ.setenv("POOL_SIZE", "12")
    settings = exercise.Settings()
    assert (settings.environment, settings.pool_size) == ("test", 12)  # a number, although variables are texts

    environ.setenv("ENVIRONMENT", "staging")
    with pytest.raises(ValidationError, match="environment"):
        exercise.Settings()


def test_pool_has_a_connection(exercise, environ):
    environ.setenv("ENVIRONMENT", "test")
    environ.setenv("POOL_SIZE", "0")
    with pytest.raises(ValidationError) as raised:
        exercise.Settings()
    assert [error["loc"] for error in raised.value.errors()] == [("pool_size",)]


def test_secret_is_not_printed(exercise, environ):
    environ.setenv("JWT_SECRET", "s3cret" * 8)
    settings = exercise.Settings()
    assert "s3cret" not in repr(settings), "a log line would show it / 日志会把它打印出来"
    assert isinstance(settings.jwt_secret, SecretStr)
    assert settings.jwt_secret.get_secret_value() == "s3cret" * 8


@pytest.mark.parametrize("secret", [None, "short"])
def test_production_refuses_an_unsafe_secret(exercise, environ, secret):
    environ.setenv("ENVIRONMENT", "production")
    if secret:
        environ.setenv("JWT_SECRET", secret)
    with pytest.raises(ValidationError):
        exercise.Settings()


def test_production_starts_with_its_own_secret(exercise, environ):
    environ.setenv("ENVIRONMENT", "production")
    environ.setenv("JWT_SECRET", "k" * 32)
    assert exercise.Settings().environment == "production"
