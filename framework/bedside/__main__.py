"""``python -m bedside``: the same as the command ``bedside``."""

from bedside.cli import main

if __name__ == "__main__":
    main()
