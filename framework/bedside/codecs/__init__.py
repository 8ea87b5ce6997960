"""Stages 4 and 8 of the spine: wire formats to arrays with geometry, and back.

No torch here: a request that cannot be decoded never reaches a model's process.
"""

from bedside.codecs.decode import Codecs
from bedside.codecs.encode import Answers
from bedside.codecs.negotiate import negotiate

__all__ = ["Answers", "Codecs", "negotiate"]
