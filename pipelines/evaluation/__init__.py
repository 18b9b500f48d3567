"""From scores to an evaluation and its verdict: intervals, several seeds, probes, stand-ins, MUSE, general tasks."""
