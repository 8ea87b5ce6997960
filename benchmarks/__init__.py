"""Measures Bedside against its budgets and beside its peers (docs/benchmarks.md). ``python -m benchmarks --help``.

Nothing here is imported by the product, nothing asserts a time, and nothing but 127.0.0.1 is ever called.
"""
