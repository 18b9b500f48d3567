"""WHEN things happen: order, retries, pauses, fan-out. No maths and no I/O of its own."""
