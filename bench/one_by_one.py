"""TOFU's suite the plain way: every metric its own pass, in the order of the rows, whole logits kept.

The other side of the evaluation bench. Same prompts, tokens and definitions as ours, written without any of our scoring
code, and with what public evaluators do share: model utility is put together from its parts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipelines.config import PromptFormat
from pipelines.data.encode import Encoded, encode
from pipelines.data.rows import Row, Rows
from pipelines.text_scores import Words

OPTIONS = ("real_authors", "world_facts")
Floats = NDArray[np.float64]
Values = dict[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a model says about one answer: log-probabilities of every token, and the right ones."""

    logprob_PV: torch.Tensor
    target_P: torch.Tensor

    @property
    def own_P(self) -> torch.Tensor:
        """Log-probability of each right token."""
        return self.logprob_PV.gather(1, self.target_P[:, None])[:, 0]


@dataclass(frozen=True, slots=True)
class Plain:
    """A model and how it is asked."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    prompt_format: PromptFormat
    batch_size: int
    max_new_tokens: int

    def tokens(self, pairs: Sequence[tuple[str, str]]) -> list[Tokens]:
        """One pass over question and answer pairs, in their order."""
        found: list[Tokens] = []
        for at in range(0, len(pairs), self.batch_size):
            items = [self._encode(*pair) for pair in pairs[at : at + self.batch_size]]
            width = max(len(item.input_ids) for item in items)
            ids_BT = torch.tensor([[*item.input_ids, *[0] * (width - len(item.input_ids))] for item in items])
            mask_BT = torch.tensor([[int(t < len(item.input_ids)) for t in range(width)] for item in items])
            with torch.inference_mode():
                logprob_BTV = F.log_softmax(self.model(input_ids=ids_BT, attention_mask=mask_BT).logits.float(), dim=-1)
            for row, item in enumerate(items):
                span = slice(item.answer_start - 1, item.answer_end - 1)
                target_P = ids_BT[row, item.answer_start : item.answer_end]
                found.append(Tokens(logprob_PV=logprob_BTV[row, span].clone(), target_P=target_P))
        return found

    def rouge(self, rows: Rows) -> float:
        """One generation pass; mean ROUGE-L recall."""
        scorer, scores = RougeScorer(["rougeL"], tokenizer=Words()), []
        end = self.tokenizer.eos_token_id
        for at in range(0, len(rows), self.batch_size):
            batch = list(rows)[at : at + self.batch_size]
            prompts = [self._prompt(row) for row in batch]
            width = max(map(len, prompts))
            ids_BT = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
            mask_BT = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
            with torch.inference_mode():
                output_BT = self.model.generate(  # type: ignore[operator]
                    inputs=ids_BT,
                    attention_mask=mask_BT,
                    do_sample=False,
                    max_new_tokens=self.max_new_tokens,
                    eos_token_id=end,
                    pad_token_id=0,
                )
            for row, ids in zip(batch, output_BT[:, width:].tolist(), strict=True):
                said = ids[: ids.index(end)] if end in ids else ids
                text = self.tokenizer.decode(said, skip_special_tokens=True)
                scores.append(float(scorer.score(row.answer, text)["rougeL"].recall))
        return float(np.mean(scores))

    def _prompt(self, row: Row) -> list[int]:
        item = self._encode(row.question, row.answer)
        return list(item.input_ids[: item.answer_start])

    def _encode(self, question: str, answer: str) -> Encoded:
        return encode(self.tokenizer, question, answer, prompt_format=self.prompt_format, max_length=10**6, row=0)


def suite(plain: Plain, splits: dict[str, Rows]) -> Values:
    """Every metric by itself: (metric, split) to value."""
    found: Values = {}
    measured = ("forget", "retain", *OPTIONS)
    for split in measured:
        found["rouge", split] = plain.rouge(splits[split])
        found["truth_ratio", split] = _truth_ratio(plain, splits[split], forget=split == "forget")
        known = _options if split in OPTIONS else _probability
        found["option_probability" if split in OPTIONS else "probability", split] = known(plain, splits[split])
    for name, value_of in (("extraction_strength", _extraction), ("exact_memorization", _exact)):
        found[name, "forget"] = _mean(plain, splits["forget"], value_of)
    for name, value_of in (("min_k", _min_k), ("min_k_plus_plus", _min_k_plus_plus)):
        found[name, "forget"] = _auc(plain, splits, value_of)
    parts = [
        found[metric, split]
        for split in measured[1:]
        for metric in ("option_probability" if split in OPTIONS else "probability", "rouge", "truth_ratio")
    ]
    found["model_utility", "utility"] = float(stats.hmean(parts))
    return found


def _answers(rows: Rows) -> list[tuple[str, str]]:
    return [(row.question, row.answer) for row in rows]


def _wrong(plain: Plain, rows: Rows) -> list[Floats]:
    """NLL of each row's wrong answers; rows have more or fewer of them."""
    nll = _nll(plain, [(row.question, wrong) for row in rows for wrong in row.perturbed_answer])
    ends = np.cumsum([len(row.perturbed_answer) for row in rows])
    return np.split(nll, ends[:-1])


def _nll(plain: Plain, pairs: Sequence[tuple[str, str]]) -> Floats:
    return np.array([-float(one.own_P.double().mean()) for one in plain.tokens(pairs)])


def _probability(plain: Plain, rows: Rows) -> float:
    return float(np.exp(-_nll(plain, _answers(rows))).mean())


def _options(plain: Plain, rows: Rows) -> float:
    right = np.exp(-_nll(plain, _answers(rows)))
    wrong = np.array([np.exp(-nll).sum() for nll in _wrong(plain, rows)])
    return float((right / (right + wrong)).mean())


def _truth_ratio(plain: Plain, rows: Rows, *, forget: bool) -> float:
    said = [(row.question, row.paraphrased_answer or row.answer) for row in rows]
    ratio = np.exp(_nll(plain, said) - np.array([nll.mean() for nll in _wrong(plain, rows)]))
    return float((np.minimum(ratio, 1 / ratio) if forget else np.maximum(0, 1 - ratio)).mean())


def _mean(plain: Plain, rows: Rows, value_of: Callable[[Tokens], float]) -> float:
    return float(np.mean([value_of(one) for one in plain.tokens(_answers(rows))]))


def _auc(plain: Plain, splits: dict[str, Rows], value_of: Callable[[Tokens], float]) -> float:
    members, others = (
        [value_of(one) for one in plain.tokens(_answers(splits[name]))] for name in ("forget", "holdout")
    )
    return float(np.mean([(a > b) + (a == b) / 2 for a in members for b in others]))


def _hits(one: Tokens) -> list[bool]:
    return (one.logprob_PV.argmax(dim=1) == one.target_P).tolist()


def _extraction(one: Tokens) -> float:
    hits = _hits(one)
    return next((1 - k / len(hits) for k in range(len(hits)) if all(hits[k:])), 0.0)


def _exact(one: Tokens) -> float:
    return float(np.mean(_hits(one)))


def _lowest(values: list[float]) -> float:
    return float(np.mean(sorted(values)[: max(1, len(values) * 2 // 5)]))


def _min_k(one: Tokens) -> float:
    return _lowest(one.own_P.tolist())


def _min_k_plus_plus(one: Tokens) -> float:
    p_PV = one.logprob_PV.exp()
    mean_P = (p_PV * one.logprob_PV).sum(dim=1)
    variance_P = (p_PV * one.logprob_PV.square()).sum(dim=1) - mean_P.square()
    return _lowest(((one.own_P - mean_P) / variance_P.clamp(min=1e-12).sqrt()).tolist())
