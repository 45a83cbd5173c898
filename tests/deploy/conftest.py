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
from tests.deploy.deployments import BROKEN
from tests.deploy.service import Service

PROJECT = "test-deploy"
_SECONDS = 1800  # for a test with its fixtures: the first one builds all images
_SETTINGS = {
    "COMPOSE_PROJECT_NAME": PROJECT,
    "IMAGE": PROJECT,
    "OPENAI_BASE_URL": "http://scripted-model:8000/v1",
    "LLM_MODEL": "scripted-model",
    "EMBEDDING_MODEL": "e",
    "SIGN_INS_PER_MINUTE": "300",  # all of them come from one address here
    "RATE_LIMIT_PER_MINUTE": "6000",
    "ACCESS_TOKEN_MINUTES": "600",
    # The machine may be busy with other things; only the effect of a deployment is measured.
    "DB_POOL_TIMEOUT_SECONDS": "15",
    "DB_CONNECT_TIMEOUT_SECONDS": "15",
    "DB_STATEMENT_TIMEOUT_SECONDS": "15",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder more time than those of single processes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_SECONDS))


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
        "SECRETS_FOLDER": str(_secrets(folder, "jwt_secret", "metrics_token")),
        "BACKUP_FOLDER": str(folder / "backups"),
        "BACKUP_KEEP": "2",
        "BACKUP_PASSPHRASE_FILE": str(_secrets(folder / "outside", "passphrase") / "passphrase"),
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
        broken = [f"{what}-{how}" for what, how in BROKEN]
        images = [f"{PROJECT}:{tag}" for tag in ("current", "previous", "candidate", "working", *broken)]
        images.append(f"{PROJECT}-agents:1")
        for image in [*images, *(f"{PROJECT}-stage{number}:current" for number in (1, 2, 3))]:
            subprocess.run([*stack.container, "rmi", "-f", image], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _secrets(folder: Path, *names: str) -> Path:
    """Make up secrets, in files that may be read by whom docs/deploy.md lets read them."""
    folder = folder / "secrets"
    folder.mkdir(parents=True)
    for name in names:
        file = folder / name
        file.write_text(secrets.token_hex(32))
        if os.geteuid() == 0:
            os.chown(file, 10001, 0)
            file.chmod(0o440)
        else:  # who cannot give a file away lets everyone read it
            file.chmod(0o444)
    return folder


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
