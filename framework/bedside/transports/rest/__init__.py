"""HTTP: ``predict`` (files in, files out) and the Open Inference Protocol V2 over REST.

``edge`` answers the data plane's own paths as plain ASGI, without a router or models on the way; everything else
(health, metadata, repository, documents) is a FastAPI application behind it (``app``). ``server`` runs both.
"""
