"""Unlearning methods: one module each, named in one place."""

from pipelines.methods import grad_ascent, grad_diff, npo, satimp, simnpo, wga
from pipelines.methods.base import AnyMethod, Method, MethodParams
from pipelines.registry import Registry

METHODS: Registry[AnyMethod] = Registry(
    "method", grad_ascent.METHOD, grad_diff.METHOD, npo.METHOD, simnpo.METHOD, wga.METHOD, satimp.METHOD
)

__all__ = ["METHODS", "AnyMethod", "Method", "MethodParams"]
