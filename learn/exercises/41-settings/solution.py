"""Settings of development, test and production: one class, read from the environment, that refuses unsafe values."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings

DEVELOPMENT_SECRET = "only-for-development-only-for-development"


class Settings(BaseSettings):
    environment: Literal["development", "test", "production"] = "development"
    database_url: str
    pool_size: int = Field(default=5, ge=1)
    jwt_secret: SecretStr = SecretStr(DEVELOPMENT_SECRET)

    @model_validator(mode="after")
    def production_has_its_own_secret(self) -> Self:
        secret = self.jwt_secret.get_secret_value()
        if self.environment == "production" and (secret == DEVELOPMENT_SECRET or len(secret) < 32):
            raise ValueError("JWT_SECRET must be a secret of at least 32 characters in production")
        return self
