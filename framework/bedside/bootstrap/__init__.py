"""The one place that builds things and puts them together; nothing else knows which implementation is used."""

from bedside.bootstrap.bundles import count_answers, inspect_bundle, loaded, run_golden_cases, tune_bundle
from bedside.bootstrap.doors import listen
from bedside.bootstrap.models import make_repository
from bedside.bootstrap.serving import mint_token, serve
from bedside.bootstrap.work import make_inbox

__all__ = [
    "count_answers",
    "inspect_bundle",
    "listen",
    "loaded",
    "make_inbox",
    "make_repository",
    "mint_token",
    "run_golden_cases",
    "serve",
    "tune_bundle",
]
