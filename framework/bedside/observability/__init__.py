"""What the server tells about itself: log events, metrics, the account of each call. No patient in any of them."""
