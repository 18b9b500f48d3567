"""The GPU bench's FLOPs by hand, and the whole of it on small shapes, on whatever device there is."""

import json

import pytest

from bench.gpu import CASES, flops, main, tiny
from pipelines.data.encode import Encoded


def test_flops_by_hand() -> None:
    """Tiny: D 64, F 128, L 2, V 320, 4 heads of 16, 2 of them for keys and values.

    P = 2 x (2 x 64 x 64 + 2 x 64 x 32 + 3 x 64 x 128) = 2 x 36,864 = 73,728. One row of 5 tokens, 3 of them answer:
    a pass of weight 1: 73,728 x 5 + 64 x 320 x 3 + 2 x 2 x 64 x 25 = 368,640 + 61,440 + 6,400 = 436,480.
    """
    row = Encoded((1, 9, 9, 9, 9), 2, 5)
    full, lora = (tiny(case) for case in CASES)
    assert flops(full, [row]) == 6 * 436_480
    assert flops(lora, [row, row]) == 2 * 4 * 436_480


def test_it_runs_on_small_shapes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tiny"]) == 0
    cases = json.loads(capsys.readouterr().out)["cases"]
    assert [case["case"] for case in cases] == ["llama-1b-full", "llama-8b-lora"]
    assert all(case["steps"] == 4 and case["tokens_per_s"] > 0 and case["peak_mib"] > 0 for case in cases)
    assert main(["--huge"]) == 2
