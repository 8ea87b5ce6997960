"""Makes the cases importable, whichever way pytest was started, and skips where the extra ``dicom`` is missing."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")
pytest.importorskip("highdicom", reason="pip install 'bedside[dicom]'")
