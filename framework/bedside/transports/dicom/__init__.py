"""DICOM over the network: results to archives by STOW-RS and C-STORE, studies from modalities by C-STORE."""
