"""Runs bundles: builds one through MONAI, keeps it warm, and puts items through its own steps.

torch and MONAI are imported here and nowhere else.
"""
