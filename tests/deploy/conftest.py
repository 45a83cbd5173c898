"""The stack of `docker-compose.yml` with production's settings, under a name of its own; everything is taken down."""

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.stack import Stack
from tests.deploy.service import Service

PROJECT = "test-deploy"
_SETTINGS = {
    "COMPOSE_PROJECT_NAME": PROJECT,
    "IMAGE": PROJECT,
    "OPENAI_BASE_URL": "http://scripted-model:8000/v1",
    "LLM_MODEL": "scripted-model",
    "EMBEDDING_MODEL": "e",
    "SIGN_INS_PER_MINUTE": "300",  # all of them come from one address here
    "RATE_LIMIT_PER_MINUTE": "6000",
    # The machine may be busy with other things; what is measured is what a deployment does.
    "DB_POOL_TIMEOUT_SECONDS": "15",
    "DB_CONNECT_TIMEOUT_SECONDS": "15",
    "DB_STATEMENT_TIMEOUT_SECONDS": "15",
}


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Stage 4, deployed into nothing by `make deploy`."""
    folder = tmp_path_factory.mktemp("stack")
    folder.chmod(0o755)
    port = _free_port()
    subnet = f"172.30.{secrets.randbelow(200) + 20}.0/24"
    given = _SETTINGS | {
        "PUBLISH": f"127.0.0.1:{port}",
        **{name: str(_free_port()) for name in ("PROMETHEUS_PORT", "STAGE1_PORT", "STAGE2_PORT", "STAGE3_PORT")},
        "FRONT_SUBNET": subnet,
        "POSTGRES_PASSWORD": secrets.token_hex(16),
        "REDIS_PASSWORD": secrets.token_hex(16),
        "JWT_SECRET": "",  # it is in a file
        "METRICS_TOKEN": secrets.token_hex(16),
        "SECRETS_FOLDER": str(_secret(folder, "jwt_secret", secrets.token_hex(32))),
        "BACKUP_FOLDER": str(folder / "backups"),
        "BACKUP_KEEP": "2",
        "BACKUP_PASSPHRASE_FILE": str(_secret(folder / "outside", "passphrase", secrets.token_hex(16)) / "passphrase"),
    }
    file = folder / "env"
    file.write_text("".join(f"{name}={value}\n" for name, value in given.items()))
    found = Stack.here()
    files = ["--env-file", str(file), "-f", "docker-compose.yml", "-f", "tests/deploy/model.yml"]
    environment = os.environ | {
        "ENV_FILE": str(file),
        "CONTAINER": " ".join(found.container),
        "BUILD": " ".join(found.build),
        "COMPOSE": " ".join([*found.compose, *files]),
    }
    os.environ.update(environment)
    stack = Stack.here()
    service = Service(stack, f"http://127.0.0.1:{port}", file)
    try:
        service.make("deploy")
        yield service
    finally:
        service.destroy()
        images = [f"{PROJECT}:{tag}" for tag in ("current", "previous", "candidate", "broken")]
        for image in [*images, *(f"{PROJECT}-stage{number}:current" for number in (1, 2, 3))]:
            subprocess.run([*stack.container, "rmi", "-f", image], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _secret(folder: Path, name: str, value: str) -> Path:
    folder = folder / "secrets"
    folder.mkdir(parents=True)
    (folder / name).write_text(value)
    (folder / name).chmod(0o444)
    return folder


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
