"""Stage 6: who waits, how long, and who is turned away."""
