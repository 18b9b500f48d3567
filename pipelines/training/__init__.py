"""The one loop that every method shares, and what goes around its loss."""
