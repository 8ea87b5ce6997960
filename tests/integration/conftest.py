"""Makes what unit tests and the rehearsal share importable, whichever way pytest was started."""

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]
for _folder in (_ROOT, _ROOT / "deploy" / "rehearse"):
    if str(_folder) not in sys.path:
        sys.path.insert(0, str(_folder))
