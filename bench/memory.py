"""One process whose peak memory is measured: scores random rows with a small model, prints MiB beyond the model."""

import ctypes
import json
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from bench.base import memory_mib
from pipelines.config import EvaluationSettings
from pipelines.data.encode import Encoded
from pipelines.evaluation.evaluate import measure
from pipelines.metrics import METRICS
from pipelines.scoring.answers import score_questions
from pipelines.scoring.questions import Question
from pipelines.scoring.table import GENERATION_SCHEMA, GenerationTable, ModelScores, Variant

ROWS, PROMPT, ANSWER = 64, 16, 64
CLEAR = Path("/proc/self/clear_refs")


def main(what: str, size: int) -> None:
    """``vocabulary V``: the scoring pass with V tokens. ``metrics N``: measuring with N metrics, 0 for all."""
    torch.set_num_threads(1)
    vocabulary = size if what == "vocabulary" else 2000
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    model = LlamaForCausalLM(config).eval()
    score_questions(model, _questions(vocabulary)[:2], pad_id=0, batch_size=1)  # whatever is made once is made
    before = _peak()
    table = score_questions(model, _questions(vocabulary), pad_id=0, batch_size=32)
    if what == "metrics":
        before = _peak()
        empty = GenerationTable(GENERATION_SCHEMA.empty_table())
        scores = ModelScores("0" * 64, "0" * 64, rows={"forget": ROWS}, answers=table, generations=empty)
        names = tuple(METRICS)[:size] if size else ()
        measure(scores, role="start", reference=None, settings=EvaluationSettings(metrics=names), seed=0)
    print(json.dumps({"mib": round(_peak(reset=False) - before, 1)}))


def _questions(vocabulary: int) -> list[Question]:
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(1, vocabulary, (ROWS, PROMPT + ANSWER), generator=draw).tolist()
    return [
        Question(
            "forget",
            row,
            Variant.ANSWER,
            0,
            Encoded(input_ids=tuple(line), answer_start=PROMPT, answer_end=PROMPT + ANSWER),
            zlib_bytes=50,
        )
        for row, line in enumerate(ids)
    ]


def _peak(*, reset: bool = True) -> float:
    """The highest resident memory in MiB since the last call that reset it; what is resident now counts first."""
    if reset:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed and kept would be taken again and not counted
        CLEAR.write_text("5")
    return memory_mib("VmHWM")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
