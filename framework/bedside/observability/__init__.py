"""What a site sees of its server: log events, metrics, and the account of every call. Never a patient."""
