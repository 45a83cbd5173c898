"""The files of a deployment, read without an engine: their limits, and that they fit together."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from project4_agent_api.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
KUBERNETES = sorted((ROOT / "deploy" / "kubernetes").glob("*.yml"))
MANIFESTS = [
    manifest
    for file in KUBERNETES
    if file.name != "kustomization.yml"
    for manifest in yaml.safe_load_all(file.read_text())
]
PODS = [manifest["spec"]["template"]["spec"] for manifest in MANIFESTS if manifest["kind"] in {"Deployment", "Job"}]
DEPLOYMENTS = [manifest["spec"]["template"]["spec"] for manifest in MANIFESTS if manifest["kind"] == "Deployment"]


def test_no_secret_has_a_default() -> None:
    for name in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "JWT_SECRET"):
        for used in re.findall(rf"\$\{{{name}([^}}]*)}}", COMPOSE):
            assert used.startswith((":?", "?")), name


def test_only_the_proxy_is_published_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert {name for name in published if "profiles" not in SERVICES[name]} == {"proxy"}
    for ports in published.values():
        for port in ports:
            assert port.startswith(("127.0.0.1:", "${PUBLISH:-127.0.0.1:")), port


def test_errors_of_the_proxy_can_be_read_by_permitted_origins() -> None:
    configuration = (ROOT / "deploy" / "proxy" / "nginx.conf").read_text()
    errors = [
        block for block in re.findall(r"location [^{]+{([^}]*)", configuration) if re.search(r"return [45]", block)
    ]

    assert len(errors) == 3
    for block in errors:
        assert "Access-Control-Allow-Origin $allowed_origin always" in block
        assert "Vary Origin always" in block


@pytest.mark.parametrize("name", SERVICES)
def test_containers_have_minimal_capabilities(name: str) -> None:
    service = SERVICES[name]

    assert "privileged" not in service
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service.get("cap_add", [])) <= {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))
    assert service["restart"] in {"unless-stopped", "on-failure"}


@pytest.mark.parametrize("name", [name for name in SERVICES if not name.startswith("stage") and name != "migrate"])
def test_containers_have_limits(name: str) -> None:
    limits = SERVICES[name]["deploy"]["resources"]["limits"]

    assert {"memory", "pids"} <= limits.keys()


def test_services_start_in_any_order() -> None:
    assert [name for name, service in SERVICES.items() if "depends_on" in service] == []


def test_images_are_pinned_to_a_version() -> None:
    for name, service in SERVICES.items():
        tag = service["image"].rpartition(":")[2]
        assert tag != "latest", name
        assert (tag == "current") == ("build" in service), name


def test_compose_mounts_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), source


def test_image_needs_no_root_and_no_compiler() -> None:
    recipe = (ROOT / "Dockerfile").read_text()
    targets = recipe.split("\nFROM ")[1:]
    served = [target for target in targets if "ENTRYPOINT" in target]

    assert len(served) == 5
    assert all("\nUSER 10001:10001\n" in target for target in served)
    assert "PIP_REQUIRE_HASHES=1" in recipe
    assert "PIP_NO_DEPS=1" in recipe
    assert "PIP_ONLY_BINARY=:all:" in recipe
    assert [target for target in targets if "apt-get" in target] == [served[0]]  # the model server's


def test_monitoring_files_are_valid_yaml() -> None:
    for file in (ROOT / "deploy" / "monitoring").rglob("*.yml"):
        assert yaml.safe_load(file.read_text()), file


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda manifest: f"{manifest['kind']}-{manifest['metadata']['name']}"
)
def test_manifests_match_the_published_schema(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.34", strict=True)


def test_workers_are_scaled_by_a_metric_of_ours_to_what_they_can_execute() -> None:
    scaled = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "keda" / "workers.yml").read_text())
    (trigger,) = scaled["spec"]["triggers"]
    names = {
        f"{manifest['kind']} {manifest['metadata']['name']}.{scaled['metadata']['namespace']}" for manifest in MANIFESTS
    }

    assert f"Deployment {scaled['spec']['scaleTargetRef']['name']}.agent-service" in names
    assert f"Service {urlsplit(trigger['metadata']['url']).hostname.removesuffix('.svc')}" in names
    assert (
        f'"{trigger["metadata"]["valueLocation"]}"'
        in (ROOT / "project4_agent_api" / "core" / "telemetry" / "collector.py").read_text()
    )
    concurrency: int = Settings.model_fields["worker_concurrency"].default
    assert 0 < int(trigger["metadata"]["targetValue"]) <= concurrency


def test_pods_reach_the_internet_but_no_private_network() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in MANIFESTS if each["kind"] == "NetworkPolicy"}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

    blocks = [block["ipBlock"] for rule in policies["internet"]["egress"] for block in rule["to"] if "ipBlock" in block]
    open_to = [(ip_network(block["cidr"]), [ip_network(each) for each in block.get("except", [])]) for block in blocks]
    for address in ("169.254.169.254", "10.0.0.1", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "::1"):
        found = ip_address(address)
        assert not any(found in network and not any(found in each for each in but) for network, but in open_to), address


def test_kustomization_lists_every_manifest() -> None:
    kustomization = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "kustomization.yml").read_text())

    assert {file.name for file in KUBERNETES} - {"kustomization.yml"} == set(kustomization["resources"])


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["containers"][0]["name"])
def test_pods_are_as_restricted_as_compose_containers(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    assert "env" not in container  # secrets are files, and come from the secret by reference


@pytest.mark.parametrize("pod", DEPLOYMENTS, ids=lambda pod: pod["containers"][0]["name"])
def test_pods_have_time_to_finish(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    config = next(manifest for manifest in MANIFESTS if manifest["kind"] == "ConfigMap")["data"]

    assert pod["terminationGracePeriodSeconds"] > int(config["SHUTDOWN_TIMEOUT_SECONDS"]) + 10  # preStop's
    assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    assert container["lifecycle"]["preStop"]
