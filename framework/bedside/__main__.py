"""The command ``bedside``, also as ``python -m bedside``."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # `python -m` imports from the current folder first: a bundle's, perhaps, with a torch.py


def main() -> None:
    """Run the command line; ``health`` without importing the rest of it, because a container asks every few seconds."""
    if sys.argv[1:2] == ["health"]:
        from bedside import health  # noqa: PLC0415 - only what is needed

        sys.exit(health.main(sys.argv[2:]))
    from bedside import cli  # noqa: PLC0415 - more than a second

    cli.main()


if __name__ == "__main__":
    main()
