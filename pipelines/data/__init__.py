"""Tables of rows, how they are read, and how they become tokens."""
