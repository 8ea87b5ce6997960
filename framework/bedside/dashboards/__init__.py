"""Dashboards and alerts over our log events, as code: one typed model, written out in the forms that Kibana takes.

Knows the catalogue of events (``observability``) and nothing else of Bedside. ``bedside dashboards export`` writes what
stands in deploy/elastic/; docs/observability.md says how it gets into Kibana (docs/decisions/0123).
"""
