"""Transports: thin ways into the one data plane. Mutually ignorant; none holds logic that another would need."""
