"""Pages for people: the console at ``/`` and Swagger UI at ``/docs``, both without anything from the internet."""

import base64
import hashlib
from collections.abc import Callable
from functools import cache
from html import escape
from importlib.resources import files
from string import Template

from fastapi import FastAPI, HTTPException, Request, Response

from bedside.transports.rest.guard import Guard
from bedside.transports.rest.parts import Parts

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon.png": "image/png",
}
"""Files of Swagger UI, out of the package ``fastapi-offline`` (docs/decisions/0033)."""

_START = """window.ui = SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, persistAuthorization: false,
  presets: [SwaggerUIBundle.presets.apis], layout: "BaseLayout", validatorUrl: null
});
"""

_DOCS = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Bedside API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css"><link rel="icon" href="/docs/favicon.png"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""

# Swagger UI sets style attributes and draws its icons from data: addresses; it runs no script but its own.
_DOCS_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2733}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .8rem;border-bottom:1px solid #d5dde5}
.notice{border-left:4px solid #b3261e;padding:.4rem .8rem;background:#fdf1f0}code{background:#eef2f6;padding:0 .2rem}
"""

_CONSOLE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title</title><style>$style</style></head><body>
<h1>$title</h1>
<p class="notice">Not a medical device. Results are for research and must not guide the care of a patient.</p>
<table><thead><tr><th>Model</th><th>Version</th><th>State</th><th>Reason</th></tr></thead>
<tbody>$rows</tbody></table>
<p><a href="/docs">API</a> · <a href="/openapi.json">OpenAPI</a> · <a href="/readyz">Readiness</a> ·
<a href="/metrics">Metrics</a></p>
<p>Send a file: <code>curl -H "Authorization: Bearer …" -H "Content-Type: …" --data-binary @FILE
…/v1/models/MODEL/predict</code></p>
</body></html>
""")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


_CONSOLE_CSP = (
    f"default-src 'none'; style-src 'sha256-{_hash(_STYLE)}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def add_pages(app: FastAPI, parts: Parts, guard: Guard) -> None:
    """Add ``/``, ``/docs`` and the files that it needs; who may see them is ``auth.docs_access``."""

    @app.get("/", include_in_schema=False)
    async def console(request: Request) -> Response:
        """Answer with the models and their states."""
        return _page(_console(parts, await guard.documents(request)), _CONSOLE_CSP)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        """Answer with the page of Swagger UI."""
        await guard.documents(request)
        return _page(_DOCS, _DOCS_CSP)

    @app.get("/docs/{name}", include_in_schema=False)
    async def asset(request: Request, name: str) -> Response:
        """Answer with one of its files."""
        await guard.documents(request)
        if name == "start.js":
            return Response(_START, headers={"content-type": ASSETS["swagger-ui-bundle.js"]})
        if name not in ASSETS:
            raise HTTPException(404)
        return Response(_asset(name), headers={"content-type": ASSETS[name]})


def _page(html: str, policy: str) -> Response:
    headers = {"content-type": "text/html; charset=utf-8", "content-security-policy": policy}
    return Response(html, headers={**headers, "referrer-policy": "no-referrer"})


def _console(parts: Parts, visible: Callable[[str], bool]) -> str:
    rows = "".join(
        f"<tr><td>{escape(model.name)}</td><td>{escape(model.version)}</td>"
        f"<td>{escape(model.state)}</td><td>{escape(model.reason)}</td></tr>"
        for model in parts.repository.index()
        if visible(model.name)
    )
    title = escape(f"{parts.settings.service_name} {parts.version}")
    return _CONSOLE.substitute(title=title, style=_STYLE, rows=rows)


@cache
def _asset(name: str) -> bytes:
    return (files("fastapi_offline") / "static" / name).read_bytes()
