"""A web service (WSGI).

    WEB_CONCURRENCY=4 gunicorn web_service:application
    PORT=8000 python web_service.py

Each worker process takes its share of the CPUs, and takes up new profiles while it runs.
"""

import json
import os
from collections.abc import Callable, Iterable
from wsgiref.simple_server import make_server

import numpy as np

import autotune

# gunicorn and uvicorn leave the number of worker processes in WEB_CONCURRENCY, which apply() reads;
# where yours does not, say apply(processes=4)
autotune.apply(record=True, watch=True)

MODEL = np.random.default_rng(0).standard_normal((200, 20))


def application(_environ: dict[str, object], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answers with the coefficients of a least-squares fit."""
    target = MODEL.sum(axis=1)
    coefficients, *_ = np.linalg.lstsq(MODEL, target, rcond=None)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"coefficients": coefficients.round(6).tolist()}).encode()]


if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ.get("PORT", "0")), application) as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()
