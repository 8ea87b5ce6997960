"""What models answer, watched over time: sums of it, its drift, and how right it was where the truth has come."""
