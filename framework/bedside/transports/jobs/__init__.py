"""The job lane: requests that come from the store instead of the wire, and results that go to archives."""
