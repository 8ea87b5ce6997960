"""The way a request takes, numbered 1 to 9 (docs/architecture.md); it knows Protocols, not implementations."""
