"""Runs bundles: builds one through MONAI, keeps it warm, and puts items through its own steps.

torch and MONAI are imported here and nowhere else.
"""

import sys

# `import monai` imports whatever lies in MONAI's folder. MONAI Deploy's SDK does, where it is installed, and brings
# Holoscan: no model needs it, and where CUDA's runtime library is missing, it would keep MONAI itself from importing.
sys.modules.setdefault("monai.deploy", None)  # type: ignore[arg-type] # "not there", to the import system
