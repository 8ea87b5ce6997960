"""What a bundle *is*: metadata, contract, policy, golden cases, digest. No torch, no MONAI: nothing here runs one."""
