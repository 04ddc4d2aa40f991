"""The files for TF Serving on one machine and in a cluster fit each other and their formats."""

import re
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

FOLDER = Path(__file__).parents[2] / "deploy"
CONFIGS = ("models.config", "batching.config", "monitoring.config")


def objects():
    documents = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    return {document["kind"]: document for document in documents}


def container():
    return objects()["Deployment"]["spec"]["template"]["spec"]["containers"][0]


def test_every_object_fits_kubernetes_own_schemas():
    validate = pytest.importorskip("kubernetes_validate", reason="100 MB of schemas, never needed")
    for document in objects().values():
        validate.validate(document, "1.30", strict=True)
    patched = objects()["HorizontalPodAutoscaler"]
    patched["spec"] |= yaml.safe_load((FOLDER / "requests_per_second.yaml").read_text())["spec"]
    validate.validate(patched, "1.30", strict=True)


def test_servers_read_the_files_that_there_are():
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["serving"]
    (generated,) = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["configMapGenerator"]
    assert generated["files"] == [f"config/{name}" for name in CONFIGS]
    for words in (compose["command"], container()["args"]):
        named = re.findall(r"/config/(\S+)", " ".join(words))
        assert sorted(named) == sorted(CONFIGS)
        assert all((FOLDER / "config" / name).is_file() for name in named)
    assert compose["image"] == container()["image"]


def test_a_pod_is_ready_when_the_configured_model_is():
    pytest.importorskip("tensorflow_serving", reason="TF Serving's messages are not installed")
    from google.protobuf import text_format
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    text = (FOLDER / "config" / "models.config").read_text()
    (model,) = text_format.Parse(text, ModelServerConfig()).model_config_list.config
    assert model.model_version_policy.latest.num_versions == 2
    assert container()["readinessProbe"]["httpGet"]["path"] == f"/v1/models/{model.name}"
    (mount,) = (m for m in container()["volumeMounts"] if m["name"] == "models")
    assert model.base_path == f"{mount['mountPath']}/{model.name}"


def test_the_autoscaler_asks_for_the_metric_that_the_adapter_makes():
    (rule,) = yaml.safe_load((FOLDER / "prometheus_adapter.yaml").read_text())["rules"]["custom"]
    scaler = objects()["HorizontalPodAutoscaler"]["spec"]
    patch = yaml.safe_load((FOLDER / "requests_per_second.yaml").read_text())["spec"]
    *alone, added = patch["metrics"]
    assert alone == scaler["metrics"]  # without the adapter no metric may be missing
    assert rule["name"]["as"] == added["pods"]["metric"]["name"]
    assert objects()["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "wrn"
    for kind in ("Service", "PodDisruptionBudget"):
        assert "wrn" in str(objects()[kind]["spec"]["selector"])
