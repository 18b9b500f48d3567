"""Measurements of speed and memory, printed by ``make bench`` as one JSON document.

A bench is one module exporting one constant ``BENCH``, plus its name in the tuple below.
"""

from bench import dag, evaluation, log, loop, start, verify
from bench.base import Bench
from pipelines.registry import Registry

BENCHES: Registry[Bench] = Registry(
    "bench", start.BENCH, dag.BENCH, evaluation.BENCH, log.BENCH, verify.BENCH, loop.BENCH
)
