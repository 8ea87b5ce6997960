"""pydicom, made quiet. Every module of this package gets it from here.

pydicom and highdicom quote values, patients' names among them, in warnings and log lines. What matters raises, and is
told in words of our own.
"""

import logging
import warnings

import pydicom
from pydicom import config

config.settings.reading_validation_mode = config.IGNORE
config.settings.writing_validation_mode = config.IGNORE
for _name in ("pydicom", "highdicom", "pylibjpeg", "libjpeg", "openjpeg"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module=r"(pydicom|highdicom|pylibjpeg|bedside\.codecs\.dicom)")

__all__ = ["pydicom"]
