"""Tokens per second, peak memory and model-FLOPs utilisation on one GPU: ``python -m bench.gpu [--tiny]``.

Two cases on untrained models drawn from a seed, rows with TOFU's lengths: NPO on all weights of a Llama-3.2-1B-shaped
model, and on LoRA adapters of an 8B-shaped one, in bfloat16. Model FLOPs per step, over real tokens (padding and
recomputation are not counted):

    full weights   6 x P x tokens + 6 x D x V x answer tokens + 12 x L x D x sum of squared lengths
    LoRA           4 x P x tokens + 4 x D x V x answer tokens +  8 x L x D x sum of squared lengths

P: parameters of the decoder layers; D: width; V: vocabulary (the head sees answer positions only); L: layers. A forward
pass takes a third of the first, half of the second: frozen weights get no gradient; the adapters' own share is left
out. Utilisation is FLOPs over seconds over the GPU's dense bf16 peak (H200: 989e12 per second). Steps after the first
are timed. ``--tiny`` runs the same code on small shapes, on a CPU too; its utilisation then means nothing.
"""

import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bench.base import memory_mib
from bench.sides import Clock, batches_of
from bench.workload import Workload, job_of, word_tokenizer
from pipelines.data.encode import Encoded
from pipelines.unlearning.job import UnlearningJob, encode_set, load_start
from pipelines.unlearning.stages import unlearn
from pipelines.world.spec import ModelSpec

PEAK_FLOPS = 989e12
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Case:
    """One model and how it is trained.

    Attributes:
        workload: sizes; its model's ``heads`` are the query heads.
        kv_heads: key and value heads.
        tied: whether embeddings are the output head, too.
        stored: element type of the model's folder.
    """

    workload: Workload
    kv_heads: int
    tied: bool
    stored: torch.dtype


LLAMA_1B = ModelSpec(vocabulary=128_256, width=2048, feed_forward=8192, layers=16, heads=32, context=512)
LLAMA_8B = ModelSpec(vocabulary=128_256, width=4096, feed_forward=14_336, layers=32, heads=32, context=512)
TINY = ModelSpec(vocabulary=320, width=64, feed_forward=128, layers=2, heads=4, context=256)

CASES = (
    Case(Workload("llama-1b-full", LLAMA_1B, rows=320, batch_size=32, checkpointing=False), 8, True, torch.float32),
    Case(
        Workload("llama-8b-lora", LLAMA_8B, rows=160, batch_size=16, lora=16, checkpointing=False),
        8,
        False,
        torch.bfloat16,
    ),
)


def tiny(case: Case) -> Case:
    """The same case on a small model and a few rows."""
    return replace(case, workload=replace(case.workload, model=TINY, rows=8, batch_size=2), kv_heads=2)


def save_start(case: Case, folder: Path, *, device: torch.device) -> None:
    """Write the start model, made where the arithmetic is fast."""
    spec = case.workload.model
    tokenizer = word_tokenizer(spec.vocabulary, context=spec.context)
    config = LlamaConfig(
        vocab_size=spec.vocabulary,
        hidden_size=spec.width,
        intermediate_size=spec.feed_forward,
        num_hidden_layers=spec.layers,
        num_attention_heads=spec.heads,
        num_key_value_heads=case.kv_heads,
        max_position_embeddings=spec.context,
        tie_word_embeddings=case.tied,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        dtype=case.stored,
    )
    torch.manual_seed(0)
    with device:
        model = LlamaForCausalLM(config)
    torch.nn.Module.to(model, dtype=case.stored)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def flops(case: Case, items: list[Encoded]) -> float:
    """Model FLOPs of some rows, trained once (the formula above)."""
    spec, passes = case.workload.model, 6 if case.workload.lora is None else 4
    head = spec.width // spec.heads
    attention = 2 * spec.width**2 + 2 * spec.width * case.kv_heads * head
    layers = spec.layers * (attention + 3 * spec.width * spec.feed_forward)
    tokens, answers = sum(len(item) for item in items), sum(item.n_answer for item in items)
    squares = sum(len(item) ** 2 for item in items)
    return passes * (layers * tokens + spec.width * spec.vocabulary * answers + 2 * spec.layers * spec.width * squares)


def timed_rows(job: UnlearningJob) -> list[Encoded]:
    """The rows of all steps but the first."""
    loaded = load_start(job)
    forget = encode_set(loaded, job, job.forget, name="forget")
    retain = encode_set(loaded, job, job.retain, name="retain")
    batches = batches_of(job, forget, retain)[1:]
    return [item for pair in batches for item in (*(forget[i] for i in pair.forget), *(retain[i] for i in pair.retain))]


def measure(case: Case, folder: Path) -> dict[str, object]:
    """One case, in an empty folder."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    save_start(case, folder / "start", device=device)
    job = job_of(case.workload, folder / "start", device=device.type)
    rows, clock = timed_rows(job), Clock()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    unlearn(job, folder / "candidate", progress=lambda at: clock.tick())
    seconds, _ = clock.passed()
    peak = torch.cuda.max_memory_allocated() / MIB if device.type == "cuda" else memory_mib("VmHWM")
    return {
        "case": case.workload.name,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "steps": len(clock.reads),
        "tokens_per_s": round(sum(len(item) for item in rows) / seconds, 1),
        "peak_mib": round(peak),
        "tflops": round(flops(case, rows) / seconds / 1e12, 4),
        "mfu": round(flops(case, rows) / seconds / PEAK_FLOPS, 6),
    }


def main(arguments: list[str]) -> int:
    """Measure every case and print one JSON document."""
    if arguments not in ([], ["--tiny"]):
        print("bench.gpu: the only option is --tiny", file=sys.stderr)
        return 2
    measured = []
    for case in CASES:
        with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
            measured.append(measure(tiny(case) if arguments else case, Path(folder)))
    print(json.dumps({"peak_flops": PEAK_FLOPS, "cases": measured}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
