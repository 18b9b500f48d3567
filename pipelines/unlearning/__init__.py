"""From a request's rows to a candidate model: the stages of a run, and what methods build themselves from."""
