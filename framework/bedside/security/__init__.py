"""Stage 2 of the spine: an :class:`~bedside.types.UnverifiedToken` becomes a :class:`~bedside.types.Principal` here."""
