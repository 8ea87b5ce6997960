"""Where bundles come from: folders, archives, buckets, registries. Each is one ``interfaces.BundleSource``."""
