"""From a commit to a pinned version: which bundles changed, and what each environment runs.

No network and nothing of a bundle's code: what this says can be read and reviewed before anything happens.
"""
