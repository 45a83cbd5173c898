"""Settings of development, test and production: one class, read from the environment, that refuses unsafe values."""

from typing import Literal  # noqa: F401  you need it

from pydantic import SecretStr, model_validator  # noqa: F401  you need them
from pydantic_settings import BaseSettings

DEVELOPMENT_SECRET = "only-for-development-only-for-development"


class Settings(BaseSettings):
    # TODO: `environment`: "development" (the default), "test" or "production", and nothing else
    #       environment：development（默认）、test 或 production，不接受其他值
    environment: str
    # TODO: `database_url` has no default: without it the program must not start. `pool_size` is at least 1, by default 5.
    #       database_url 没有默认值，缺了它程序不能启动；pool_size 至少为 1，默认 5
    database_url: str = "sqlite://"
    pool_size: int = 5
    # TODO: `jwt_secret` must not appear in a log that prints the settings; by default it is DEVELOPMENT_SECRET
    #       打印配置的日志里不能出现 jwt_secret；默认值是 DEVELOPMENT_SECRET
    jwt_secret: str = DEVELOPMENT_SECRET

    # TODO: a validator that refuses DEVELOPMENT_SECRET, and secrets of fewer than 32 characters, in production
    #       校验器：生产环境拒绝 DEVELOPMENT_SECRET，也拒绝少于 32 个字符的密钥
