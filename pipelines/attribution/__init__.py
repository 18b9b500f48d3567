"""Which training rows taught it: the legs by name."""

from pipelines.attribution import bm25, gradient
from pipelines.registry import Registry

ATTRIBUTORS = Registry("attributor", bm25.ATTRIBUTOR, gradient.ATTRIBUTOR)
