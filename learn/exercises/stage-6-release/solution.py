"""Small project of stage 6: what a service needs to be released, in one file. It is judged without Docker."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

from fastapi import FastAPI, Response
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    environment: Literal["development", "production"] = "development"
    database_url: str
    version: str = "dev"


def create_app(settings: Settings, check_database: Callable[[], Awaitable[None]]) -> FastAPI:
    """Return the application, with `/health`, `/ready` and `/version`."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.draining = False
        yield
        app.state.draining = True

    app = FastAPI(lifespan=lifespan, docs_url="/docs" if settings.environment == "development" else None)
    app.state.draining = False

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready")
    async def ready(response: Response) -> dict[str, str]:
        status = "draining" if app.state.draining else "ok"
        if not app.state.draining:
            try:
                await check_database()
            except Exception:  # noqa: BLE001  drivers raise all kinds of errors
                status = "unavailable"
        response.status_code = 200 if status == "ok" else 503
        return {"database": status}

    @app.get("/version")
    async def version() -> dict[str, str]:
        return {"version": settings.version}

    return app


COMPOSE = """
services:
  api:
    image: notes:${VERSION:?}
    environment:
      ENVIRONMENT: production
      DATABASE_URL: postgresql://app:${POSTGRES_PASSWORD:?}@postgres/app
    ports: ["127.0.0.1:8000:8000"]
    depends_on:
      postgres: {condition: service_healthy}
    restart: unless-stopped
  postgres:
    image: postgres:18
    environment:
      POSTGRES_USER: app
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?}
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -U app"]
      interval: 5s
    volumes: ["data:/var/lib/postgresql"]
    restart: unless-stopped
volumes:
  data: {}
"""

BACKUP = """
set -eu
pg_dump --format=custom --file=backup.part "$DATABASE_URL"
mv backup.part "backup-$(date -u +%Y%m%dT%H%M%SZ).dump"
"""
