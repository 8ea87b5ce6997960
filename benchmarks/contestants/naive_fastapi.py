"""The obvious way: what a good developer writes in an afternoon from FastAPI's own tutorials, with Bedside's duties.

Every request is authenticated (RS256, ``iss``, ``aud``, ``exp``, scope), validated (pydantic), logged (one structlog
JSON line) and metered (Prometheus), and ten models are loaded. Nothing in it is slow on purpose: handler and
dependency are ``async def`` (no hop to a thread), PyJWT verifies (faster than python-jose), uvicorn runs on uvloop and
httptools.

    python -m benchmarks.contestants.naive_fastapi PORT sklearn|bundle PUBLIC_KEY.pem ISSUER AUDIENCE [BUNDLE_FOLDER]

``sklearn`` scores with a StandardScaler and LogisticRegression; ``bundle`` calls the bundle's own preprocessing,
network and postprocessing in this process, as its author would.
"""

import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import jwt  # type: ignore[import-not-found,unused-ignore]  # of the extra "bench"
import numpy as np
import structlog
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import Counter, Gauge, Histogram, make_asgi_app
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware

from benchmarks.contestants.heart_pipeline import ACCURACY, FEATURES, MODELS, make_pipeline_trained

Score = Callable[[list[float]], float]

REQUESTS = Counter("requests_total", "Requests", ["model", "status"])
SECONDS = Histogram("request_seconds", "Latency", ["model"])
RUNNING = Gauge("requests_running", "Requests under way", ["model"])

log = structlog.get_logger()
bearer = HTTPBearer()


class Record(BaseModel):
    """The thirteen features."""

    age: float
    sex: float
    cp: float
    trestbps: float
    chol: float
    fbs: float
    restecg: float
    thalach: float
    exang: float
    oldpeak: float
    slope: float
    ca: float | None
    thal: float | None


class Answer(Record):
    """The record with the prediction beside it."""

    prediction: str
    probability: float
    probabilities: dict[str, float]
    accuracy: float
    model: str
    version: str


class LogAndCount(BaseHTTPMiddleware):
    """One log line and the metrics of each request."""

    async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Pass the request on, then account for it."""
        begin = time.perf_counter()
        request_id = request.headers.get("x-request-id") or str(uuid.uuid4())
        model = request.url.path.split("/")[3] if request.url.path.startswith("/v1/models/") else ""
        RUNNING.labels(model=model).inc()
        response = await call_next(request)
        RUNNING.labels(model=model).dec()
        seconds = time.perf_counter() - begin
        REQUESTS.labels(model=model, status=str(response.status_code)).inc()
        SECONDS.labels(model=model).observe(seconds)
        log.info(
            "inference_completed",
            request_id=request_id,
            model=model,
            status=response.status_code,
            user=getattr(request.state, "user", None),
            duration_ms=round(seconds * 1000, 3),
        )
        response.headers["x-request-id"] = request_id
        return response


def make_app(models: dict[str, Score], public_key: str, issuer: str, audience: str) -> FastAPI:
    """Return the application."""
    app = FastAPI(title="naive")
    app.add_middleware(LogAndCount)
    app.mount("/metrics", make_asgi_app())

    async def user(request: Request, credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> str:
        try:
            claims = jwt.decode(
                credentials.credentials, public_key, algorithms=["RS256"], audience=audience, issuer=issuer
            )
        except jwt.InvalidTokenError:
            raise HTTPException(401, "invalid token") from None
        if "bedside.infer" not in claims.get("scope", "").split():
            raise HTTPException(403, "scope bedside.infer is missing")
        request.state.user = claims["sub"]
        return str(claims["sub"])

    @app.post("/v1/models/{name}/predict")
    async def predict(name: str, record: Record, _user: Annotated[str, Depends(user)]) -> Answer:
        if name not in models:
            raise HTTPException(404, "no such model")
        values = [getattr(record, feature) for feature in FEATURES]
        probability = models[name]([float("nan") if value is None else value for value in values])
        return Answer(
            **record.model_dump(),
            prediction="disease" if probability >= 0.5 else "no disease",
            probability=max(probability, 1 - probability),
            probabilities={"no disease": 1 - probability, "disease": probability},
            accuracy=ACCURACY,
            model=name,
            version="0.1.0",
        )

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ok"}

    return app


def sklearn_score() -> Score:
    """Return a scorer of the scikit-learn pipeline."""
    pipeline = make_pipeline_trained()

    def score(values: list[float]) -> float:
        return float(pipeline.predict_proba(np.array([values]))[0, 1])

    return score


def bundle_score(root: Path) -> Score:
    """Return a scorer that calls a MONAI bundle's own steps."""
    import torch  # noqa: PLC0415 - only this variant needs it
    from monai.bundle import ConfigParser  # noqa: PLC0415

    torch.set_num_threads(1)
    parser = ConfigParser()
    parser.read_config(str(root / "configs" / "inference.json"))
    parser["bundle_root"] = str(root)
    preprocessing, network, inferer, postprocessing = (
        parser.get_parsed_content(name) for name in ("preprocessing", "network", "inferer", "postprocessing")
    )
    network.load_state_dict(torch.load(root / "models" / "model.pt", map_location="cpu", weights_only=True))
    network.eval()

    def score(values: list[float]) -> float:
        item: dict[str, Any] = preprocessing({"features": np.array(values, dtype=np.float32)})
        with torch.no_grad():
            item["pred"] = inferer(item["image"][None], network)[0]
        return float(postprocessing(item)["pred"][1])

    return score


def main(port: str, kind: str, key: str, issuer: str, audience: str, bundle: str = "") -> None:
    """Serve until SIGTERM."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ]
    )
    models = {name: sklearn_score() if kind == "sklearn" else bundle_score(Path(bundle)) for name in MODELS}
    app = make_app(models, Path(key).read_text(encoding="ascii"), issuer, audience)
    uvicorn.run(app, host="127.0.0.1", port=int(port), loop="uvloop", http="httptools", access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
