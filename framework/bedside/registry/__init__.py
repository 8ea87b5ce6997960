"""Stage 3: which models are served, by name and version."""
