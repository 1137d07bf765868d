"""The manifests and the compose file: against the schemas of those who read them, and against what the server says."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.bundle.manifest import FORMAT_VERSION
from adaptertune_deploy.serve.http import server
from adaptertune_deploy.serve.settings import Settings, variable
from tests.docs.test_guides import check_options, instructions
from tests.docs.test_operating import rows

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "kubernetes").rglob("*.yaml"))
PLAIN = [path for path in FILES if path.parent.name == "atd" and path.name != "kustomization.yaml"]
COMPOSE = ROOT / "docker" / "compose.yaml"
UNRUN = [ROOT / "kubernetes" / name for name in ("atd/kustomization.yaml", "kserve/runtime.yaml")]
USER = 10001


def read(name: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "kubernetes" / name).read_text())
    assert isinstance(document, dict)
    return document


def pods() -> dict[str, dict[str, Any]]:
    """Return the two specifications of pods: file -> spec."""
    deployment, runtime = read("atd/deployment.yaml"), read("kserve/runtime.yaml")
    spec = {"containers": runtime["spec"]["containers"], "volumes": runtime["spec"]["volumes"]}
    return {"deployment": deployment["spec"]["template"]["spec"], "runtime": spec}


def validate(document: dict[str, Any]) -> None:
    schemas = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for version in ("1.29", "1.37"):
        schemas.validate(document, version, strict=True)


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
def test_a_manifest_is_what_kubernetes_takes_and_one_with_a_slip_is_not(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    validate(document)
    slipped = copy.deepcopy(document)
    slipped["spec"]["slip"] = 1
    with pytest.raises(Exception, match="slip"):
        validate(slipped)


def test_the_pods_of_a_runtime_are_what_kubernetes_takes() -> None:
    metadata = {"name": "atd"}
    for spec in pods().values():
        validate({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def test_the_kustomization_names_every_manifest_and_the_image() -> None:
    found = read("atd/kustomization.yaml")
    assert sorted(found["resources"]) == [path.name for path in PLAIN]
    (image,) = [image["name"] for image in found["images"]]
    assert {container["image"] for spec in pods().values() for container in spec["containers"]} == {image}


@pytest.mark.parametrize("name", ["deployment", "runtime"])
def test_a_container_runs_a_command_that_there_is_as_nobody_in_particular(name: str) -> None:
    spec = pods()[name]
    (container,) = spec["containers"]
    check_options(["atd", *container["args"]])
    known = {variable(field) for field in Settings.__dataclass_fields__} | {"ATD_CACHE", "ATD_LOG_FORMAT"}
    assert {entry["name"] for entry in container["env"]} <= known
    rights = {**spec.get("securityContext", {}), **container["securityContext"]}
    assert (rights["runAsNonRoot"], rights["runAsUser"]) == (True, USER)
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    cache = next(entry["value"] for entry in container["env"] if entry["name"] == "ATD_CACHE")
    assert {"/tmp", cache} <= mounts.keys()  # the only places that are written to
    assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in spec["volumes"]}
    users = {last["USER"] for last in map(dict, map(instructions, (ROOT / "docker").glob("*.Dockerfile")))}
    assert users == {str(USER)}


@pytest.mark.parametrize("name", ["deployment", "runtime"])
def test_probes_ask_what_the_handbook_says(name: str) -> None:
    (container,) = pods()[name]["containers"]
    asked = {row[0].removeprefix("GET ") for row in rows("ask")}
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    assert set(paths.values()) <= asked
    assert paths == {
        "startup": "/v2/health/ready",
        "readiness": "/v2/health/ready",
        "liveness": "/v2/health/live",
    }
    (port,) = container["ports"]
    words = container["args"]
    listened = int(words[words.index("--port") + 1]) if "--port" in words else 8000
    assert port["containerPort"] == listened
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in paths} <= {listened, port.get("name")}


def test_nobody_is_killed_while_it_answers() -> None:
    spec = pods()["deployment"]
    given = {entry["name"]: entry["value"] for entry in spec["containers"][0]["env"]}
    drain = float(given["ATD_DRAIN_DELAY"]) + float(given["ATD_DRAIN_TIMEOUT"]) + 2 * server.MARGIN_S
    assert drain < spec["terminationGracePeriodSeconds"]
    period = spec["containers"][0]["readinessProbe"]["periodSeconds"]
    assert float(given["ATD_DRAIN_DELAY"]) > 2 * period  # the endpoint is gone before the listener is
    for service in yaml.safe_load(COMPOSE.read_text())["services"].values():
        assert int(service["stop_grace_period"].removesuffix("s")) > drain


def test_all_select_the_same_pods() -> None:
    labels = read("atd/deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    selected = [
        read("atd/deployment.yaml")["spec"]["selector"]["matchLabels"],
        read("atd/service.yaml")["spec"]["selector"],
        read("atd/disruption.yaml")["spec"]["selector"]["matchLabels"],
        read("atd/network.yaml")["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(one == labels for one in selected)
    assert (
        read("atd/autoscaling.yaml")["spec"]["scaleTargetRef"]["name"]
        == read("atd/deployment.yaml")["metadata"]["name"]
    )
    claimed = pods()["deployment"]["volumes"][0]["persistentVolumeClaim"]["claimName"]
    assert claimed == read("atd/claim.yaml")["metadata"]["name"]
    assert read("atd/disruption.yaml")["spec"]["maxUnavailable"] < read("atd/autoscaling.yaml")["spec"]["minReplicas"]


def test_it_scales_by_a_metric_that_there_is_long_before_requests_are_refused() -> None:
    (metric,) = [one["pods"] for one in read("atd/autoscaling.yaml")["spec"]["metrics"] if one["type"] == "Pods"]
    assert metric["metric"]["name"] in {row[0] for row in rows("name")}
    assert int(metric["target"]["averageValue"]) * 4 == Settings().queue_limit
    page = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (rule,) = yaml.safe_load(block)["rules"]["custom"]
    assert metric["metric"]["name"] in rule["seriesQuery"]


def test_the_service_asks_for_the_format_that_the_runtime_serves() -> None:
    runtime, service = read("kserve/runtime.yaml"), read("kserve/inference-service.yaml")
    (served,) = runtime["spec"]["supportedModelFormats"]
    model = service["spec"]["predictor"]["model"]
    assert model["modelFormat"] == {"name": served["name"], "version": served["version"]}
    assert served["version"] == str(FORMAT_VERSION)
    assert model["runtime"] == runtime["metadata"]["name"]
    assert [model["protocolVersion"]] == runtime["spec"]["protocolVersions"] == ["v2"]


def test_the_compose_file_is_what_compose_takes_and_starts_what_there_is() -> None:
    text = re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", COMPOSE.read_text())  # what Compose does before it reads
    compose = pytest.importorskip("compose_spec", reason="compose-spec is not installed")
    compose.PyCompose.from_yaml(text).to_spec()
    with pytest.raises(Exception, match="read_olny"):
        compose.PyCompose.from_yaml(text.replace("read_only", "read_olny"))
    for service in yaml.safe_load(text)["services"].values():
        check_options(["atd", *service["command"]])
        context = (COMPOSE.parent / service["build"]["context"]).resolve()
        assert context == ROOT
        assert (context / service["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("path", [*UNRUN, COMPOSE], ids=lambda path: path.name)
def test_what_nobody_has_run_says_so(path: Path) -> None:
    assert re.search(r"^# Checked against .*, not run: no machine of ours has", path.read_text(), re.MULTILINE)
