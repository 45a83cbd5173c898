"""Small project of stage 6: what a service needs to be released, in one file. It is judged without Docker."""

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager  # noqa: F401  you need it
from typing import Literal  # noqa: F401  you need it

from fastapi import FastAPI, Response  # noqa: F401  you need them
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    # TODO: `environment` ("development" or "production"), `database_url` (required), `version` ("dev")
    #       environment（development 或 production）、database_url（必填）、version（默认 "dev"）
    pass


def create_app(settings: Settings, check_database: Callable[[], Awaitable[None]]) -> FastAPI:
    """Return the application, with `/health`, `/ready` and `/version`."""
    # TODO: /health is 200 always. /ready is 503 while the database is unavailable, and once the shutdown has started
    #       /health 总是 200；数据库不可用时、以及开始停机之后，/ready 返回 503
    # TODO: /docs only in development
    #       /docs 只在开发环境提供
    return FastAPI()


# TODO: two services, api and postgres, and a named volume for the data. api: image `notes:${VERSION:?}`, published on loopback
#       only, waits until postgres is healthy, restarts. The password comes from ${POSTGRES_PASSWORD:?}.
#       两个服务 api 和 postgres，数据放在命名卷里。api：镜像 notes:${VERSION:?}，只在回环地址上发布，等 postgres 健康，会重启。
#       密码来自 ${POSTGRES_PASSWORD:?}。
COMPOSE = """
services: {}
"""

# TODO: the commands of a backup: pg_dump in the custom format to a temporary name, then rename it, so that a broken dump never
#       has the name of a backup. Stop at the first error (set -eu).
#       备份命令：pg_dump 以自定义格式写到临时文件名，成功后再改名，这样失败的备份不会冒充备份。出错就停（set -eu）。
BACKUP = """
"""
