"""Counts and times of requests, in the format of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_wrn.system.backend import import_package

if TYPE_CHECKING:
    from keras_wrn.serving.limits import Limits
    from keras_wrn.serving.repository import Repository

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """The metrics of one server.

    `keras_wrn_requests_total` counts by model, interface (rest, grpc) and code (OK, ...);
    `keras_wrn_request_seconds` has the times, `keras_wrn_model_seconds` the part in the model;
    `keras_wrn_images_total` counts rows; `keras_wrn_requests_running` and
    `keras_wrn_version_served` (by model and version) are read when they are asked for.
    """

    def __init__(self, repository: Repository, limits: Limits) -> None:
        self._client = import_package("prometheus_client", "prometheus_client", "Serving")
        self._registry = self._client.CollectorRegistry()
        self._repository, self._limits = repository, limits

        def made(kind: str, name: str, text: str, labels: list[str], **options: Any) -> Any:
            make = getattr(self._client, kind)
            return make(f"keras_wrn_{name}", text, labels, registry=self._registry, **options)

        by = ["model", "interface"]
        self._requests = made("Counter", "requests", "Requests answered.", [*by, "code"])
        self._rows = made("Counter", "images", "Rows classified.", by)
        self._seconds = made("Histogram", "request_seconds", "Seconds.", by, buckets=SECONDS)
        self._model = made("Histogram", "model_seconds", "In the model.", by, buckets=SECONDS)
        self._registry.register(self)

    def answered(self, model: str, interface: str, code: str, seconds: float) -> None:
        """Count a request. Names of models that are not here are counted as "unknown"."""
        model = model if model in self._repository.names() else "unknown"
        self._requests.labels(model, interface, code).inc()
        self._seconds.labels(model, interface).observe(seconds)

    def computed(self, model: str, interface: str, rows: int, seconds: float) -> None:
        """Count what a model has computed."""
        self._rows.labels(model, interface).inc(rows)
        self._model.labels(model, interface).observe(seconds)

    def collect(self) -> list[Any]:
        """Gauges, read when they are asked for; called by the registry."""
        core = import_package("prometheus_client.core", "prometheus_client", "Serving")
        gauge = core.GaugeMetricFamily
        running = gauge("keras_wrn_requests_running", "Requests that are not answered yet.")
        running.add_metric([], self._limits.running)
        served = gauge("keras_wrn_version_served", "1 for a version.", labels=["model", "version"])
        for model in self._repository.names():
            for version in self._repository.available(model):
                served.add_metric([model, str(version)], 1)
        return [running, served]

    def text(self) -> tuple[bytes, str]:
        """The metrics, and the type of their content."""
        return self._client.generate_latest(self._registry), self._client.CONTENT_TYPE_LATEST
