"""MONAI Deploy: a bundle as an application of its App SDK, and as a MONAI Application Package (docs/monai-deploy.md).

``operators`` is for app authors and needs the extra ``map``; nothing in Bedside imports it. The rest needs no SDK.
"""
