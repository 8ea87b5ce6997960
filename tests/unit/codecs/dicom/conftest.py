"""Skips where the extra ``dicom`` is missing."""

import pytest

pytest.importorskip("pydicom", reason="pip install 'bedside[dicom]'")
pytest.importorskip("highdicom", reason="pip install 'bedside[dicom]'")
