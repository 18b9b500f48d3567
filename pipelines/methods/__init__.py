"""Unlearning methods: one module each, named in one place."""

from pipelines.methods import (
    alt_po,
    ce_u,
    dpo,
    eul,
    grad_ascent,
    grad_diff,
    icu,
    idk,
    in_context,
    kl_min,
    npo,
    opt_out,
    pdu,
    pgu,
    retrain,
    rmu,
    satimp,
    simnpo,
    sku,
    snap,
    task_vector,
    undial,
    wga,
)
from pipelines.methods.base import AnyMethod, Method, MethodParams
from pipelines.registry import Registry

METHODS: Registry[AnyMethod] = Registry(
    "method",
    grad_ascent.METHOD,
    grad_diff.METHOD,
    kl_min.METHOD,
    npo.METHOD,
    simnpo.METHOD,
    dpo.METHOD,
    idk.METHOD,
    alt_po.METHOD,
    rmu.METHOD,
    undial.METHOD,
    wga.METHOD,
    satimp.METHOD,
    ce_u.METHOD,
    pdu.METHOD,
    icu.METHOD,
    snap.METHOD,
    opt_out.METHOD,
    pgu.METHOD,
    task_vector.METHOD,
    sku.METHOD,
    eul.METHOD,
    retrain.METHOD,
    in_context.METHOD,
)

__all__ = ["METHODS", "AnyMethod", "Method", "MethodParams"]
