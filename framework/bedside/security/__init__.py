"""Stage 2: who calls, and may they."""
