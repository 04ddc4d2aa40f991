"""TF Serving's REST interface, with health, metrics and the page.

Source: https://www.tensorflow.org/tfx/serving/api_rest. Paths that TF Serving does not have: / (the
page), /v1/models (the names), /healthz (the server runs), /readyz (models are served) and
/metrics. A reply of predict names the version in the header X-Model-Version and the time in the
model in Server-Timing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_wrn.serving import json_tensors
from keras_wrn.serving.refusal import Refusal
from keras_wrn.serving.service import Asked, Service, refusal_for, signatures_json, status_json
from keras_wrn.system.backend import import_package

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LINGER_SECONDS = 0.5
_VERSION = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_METHOD = re.compile(rf"(?i){_VERSION}:(predict|classify|regress)")
_STATUS = re.compile(rf"(?i){_VERSION}(/metadata)?")
# The page has its script and style in itself, and asks nobody else.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src blob: data:; media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)


def application(service: Service) -> Starlette:
    """Return the ASGI application."""
    import_package("starlette", "starlette", "Serving")
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route

    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")

    async def show(_: Request) -> Response:
        headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(page, headers=headers)

    async def alive(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        if service.draining or service.repository.names() == service.repository.broken():
            return PlainTextResponse("not ready\n", 503)
        return PlainTextResponse("ready\n")

    async def metrics(_: Request) -> Response:
        content, kind = service.metrics.text()
        return Response(content, headers={"Content-Type": kind})

    async def models(request: Request) -> Response:
        start, asked = time.perf_counter(), Asked("unknown")
        try:
            path, method = request.scope["path"], request.method
            if method == "POST" and (found := _METHOD.fullmatch(path)):
                asked = _asked(found)
                response = await _predict(request, asked, found[4].lower(), service)
            elif method == "GET" and (found := _STATUS.fullmatch(path)):
                asked = _asked(found)
                tell = _metadata if found[4] else _status
                response = JSONResponse(tell(service, asked))
            elif method == "GET" and path.rstrip("/") == "/v1/models":
                response = JSONResponse({"models": service.repository.names()})
            else:
                raise Refusal(f"Malformed request: {method} {path}")
            code = "OK"
        except Exception as error:  # a bug must not end the connection
            refusal = refusal_for(error)
            code, body = refusal.code, {"error": str(refusal)}
            if refusal.status in (413, 429) and not hasattr(request.state, "is_complete"):
                await _drain(request)
            # The rest of a body that was not read cannot be told from the next request.
            headers = {"Connection": "close"} if refusal.status in (413, 429, 504) else {}
            response = JSONResponse(body, refusal.status, headers)
        service.count(asked.name, "rest", code, start)
        return response

    anything = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]
    return Starlette(
        routes=[
            Route("/", show),
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", metrics),
            Route("/{path:path}", models, methods=anything),
        ]
    )


def _asked(found: re.Match[str]) -> Asked:
    version = None if found[2] is None else int(found[2][:20])
    return Asked(found[1], version, found[3])


async def _predict(request: Request, asked: Asked, method: str, service: Service) -> Response:
    from starlette.responses import Response

    if method != "predict":
        raise Refusal(f"{method} is for models that take tf.Example records. Use :predict.")
    with service.limits.admit():
        body = await _body(request, service)

        def work() -> tuple[Any, bytes]:
            content = json_tensors.parse(body)
            answer = service.predict(
                asked,
                content.signature_name,
                lambda signature: json_tensors.arrays_of(content, signature),
                "rest",
            )
            return answer, json_tensors.reply_to(content, answer.outputs)

        answer, reply = await service.in_thread(work)
    headers = {
        "X-Model-Version": str(answer.version),
        "Server-Timing": f"model;dur={1000 * answer.seconds:.2f}",
    }
    return Response(reply, media_type="application/json", headers=headers)


async def _body(request: Request, service: Service) -> bytes:
    """Read the body, as much as is allowed, in the time that is allowed."""
    from starlette.requests import ClientDisconnect

    limits, chunks, size = service.limits, [], 0
    if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
        raise Refusal(f"The body must not be compressed. Received: {encoding}.", status=415)
    stated = request.headers.get("content-length", "")
    try:
        async with asyncio.timeout(limits.seconds):
            limits.check_bytes(int(stated) if stated.isdecimal() else 0)
            async for chunk in request.stream():
                size += len(chunk)
                limits.check_bytes(size)
                chunks.append(chunk)
    except ClientDisconnect as error:
        raise Refusal("The client went away.", "CANCELLED") from error
    except TimeoutError as error:
        sentence = f"The body of the request did not arrive in {limits.seconds:g} s."
        raise Refusal(sentence, "DEADLINE_EXCEEDED") from error
    request.state.is_complete = True
    return b"".join(chunks)


async def _drain(request: Request) -> None:
    """Discard what comes for a moment: clients that only send read no answer before they end."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(LINGER_SECONDS):
            while (await request.receive()).get("more_body"):
                pass


def _status(service: Service, asked: Asked) -> dict[str, Any]:
    versions = service.repository.status(asked.name, asked.version, asked.label)
    return {"model_version_status": [status_json(version) for version in versions]}


def _metadata(service: Service, asked: Asked) -> dict[str, Any]:
    version, servable = service.repository.find(asked.name, asked.version, asked.label)
    return {
        "model_spec": {"name": asked.name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": signatures_json(servable.signatures)}},
    }
