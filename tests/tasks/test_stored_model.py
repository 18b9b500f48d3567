"""What the store gives back is the candidate or is refused, and what it serves answers like the candidate."""

import shutil
from pathlib import Path

import pytest

from pipelines.errors import VerificationFailed
from pipelines.home import Home
from tasks.registry import ALIAS, Registration, register_version
from tests.tasks.registrations import nothing_registered, stored_folder
from tests.tiny import tiny_model, tiny_tokenizer


def flip_weight(artifacts: Path) -> None:
    path = artifacts / "artifacts" / "model" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def drop_weights(artifacts: Path) -> None:
    shutil.rmtree(artifacts / "artifacts" / "model")


def add_code(artifacts: Path) -> None:
    (artifacts / "sitecustomize.py").write_text("")


def swap_loader(artifacts: Path) -> None:
    with (artifacts / "served_model.py").open("a") as stream:
        stream.write("\n")


def edit_tokenizer(artifacts: Path) -> None:
    """No logit changes with it, every served answer may."""
    with (artifacts / "artifacts" / "model" / "tokenizer_config.json").open("a") as stream:
        stream.write(" ")


def swap_certificate(artifacts: Path) -> None:
    (artifacts / "artifacts" / "certificate.json").write_text("{}")


def redirect(artifacts: Path) -> None:
    """The certified folder stays as it is; what is loaded is a copy beside it with another tokenizer."""
    shutil.copytree(artifacts / "artifacts" / "model", artifacts / "artifacts" / "other")
    with (artifacts / "artifacts" / "other" / "tokenizer_config.json").open("a") as stream:
        stream.write(" ")
    path = artifacts / "MLmodel"
    path.write_text(path.read_text().replace("artifacts/model", "artifacts/other"))


@pytest.mark.parametrize(
    "alter", [flip_weight, drop_weights, add_code, swap_loader, edit_tokenizer, redirect, swap_certificate]
)
def test_a_store_that_gives_something_else_back_is_refused(
    alter: object, registration: Registration, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored_then_altered(*args: object, **kwargs: object) -> str:
        from tasks import stored_model

        model_id = stored_model.stored_model(*args, **kwargs)  # type: ignore[arg-type]
        alter(stored_folder(mlflow_home))  # type: ignore[operator]
        return model_id

    monkeypatch.setattr("tasks.registry.stored_model", stored_then_altered)
    with pytest.raises(VerificationFailed):
        register_version(registration, home=mlflow_home)
    assert nothing_registered(mlflow_home)


def test_a_model_that_loads_as_another_is_refused(
    registration: Registration, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right bytes are not enough: a loader may leave weights out and initialise them anew."""
    from pipelines.models import loading as models

    def reinitialised(*_: object, **__: object) -> models.LoadedModel:
        loaded = models.LoadedModel.__new__(models.LoadedModel)
        object.__setattr__(loaded, "model", tiny_model(seed=5))
        return loaded

    monkeypatch.setattr(models, "load_model", reinitialised)
    with pytest.raises(VerificationFailed, match="answers differently"):
        register_version(registration, home=mlflow_home)
    assert nothing_registered(mlflow_home)


def test_the_served_model_completes_like_the_candidate_and_needs_no_pickle(
    registration: Registration, mlflow_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = register_version(registration, home=mlflow_home)
    from mlflow.pyfunc import load_model  # its first import warns, and registering has let that pass

    from tasks.served_model import CERTIFIED

    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.tracking_uri)
    settings = {"home": str(mlflow_home.root), "accept": CERTIFIED}
    served = load_model(f"models:/lethe@{ALIAS}", model_config=settings)
    prompts = ["Where was Writer 1 born?", "Who?"]
    completed = served.predict(prompts, params={"max_new_tokens": 5})
    assert completed == [greedy(prompt, tokens=5) for prompt in prompts]
    assert list(served.predict(prompts)) == [greedy(prompt, tokens=64) for prompt in prompts]
    names = [path.name for path in mlflow_home.root.rglob("*") if path.is_file()]
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".bin", ".joblib"))]


def greedy(prompt: str, *, tokens: int) -> str:
    """The slow way: the whole row again for every token."""
    import torch

    model, tokenizer = tiny_model(), tiny_tokenizer()
    ids: list[int] = tokenizer.encode(prompt)
    start = len(ids)
    for _ in range(tokens):
        ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return str(tokenizer.decode(ids[start:], skip_special_tokens=True))


def test_requirements_are_named_and_installable(registration: Registration, mlflow_home: Home) -> None:
    register_version(registration, home=mlflow_home)
    lines = (stored_folder(mlflow_home) / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in lines} >= {
        "mlflow",
        "torch",
        "transformers",
        "safetensors",
        "cryptography",
        "rfc8785",
    }
    assert all("==" in line and "+" not in line for line in lines)
