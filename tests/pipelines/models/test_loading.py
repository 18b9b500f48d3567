"""Model folders: what is refused before anything is loaded, what loads, and what is written back."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

from pipelines.audit.manifest import folder_digest
from pipelines.errors import BadInput
from pipelines.models.folder import check_model_folder
from pipelines.models.loading import context_length, full_disk_refused, load_model, resolve_device, save_model
from tests.tiny import CONTEXT, save_tiny, tiny_model, tiny_tokenizer

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


def _config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _shard(folder: Path, *, index: dict[str, object]) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _drop(folder: Path, tensor: str) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(
        {k: v for k, v in weights.items() if k != tensor}, folder / "model.safetensors", metadata={"format": "pt"}
    )


def _reshape(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.ones(31)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _big_tokenizer(folder: Path) -> None:
    tokenizer: PreTrainedTokenizerFast = tiny_tokenizer()
    tokenizer.add_tokens([f"<extra {i}>" for i in range(10)])
    tokenizer.save_pretrained(folder)


def _subfolder(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "x.bin").write_bytes(b"")


def _no_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def _truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickled weights": (lambda f: (f / "pytorch_model.bin").write_bytes(b""), "pytorch_model.bin: not allowed"),
    "torch archive": (lambda f: (f / "extra.pt").write_bytes(b""), "extra.pt: not allowed"),
    "pickle": (lambda f: (f / "state.pkl").write_bytes(b""), "state.pkl: not allowed"),
    "code": (lambda f: (f / "modeling_x.py").write_text(""), "modeling_x.py: not allowed"),
    "library": (lambda f: (f / "kernel.so").write_bytes(b""), "kernel.so: not allowed"),
    "hidden file": (lambda f: (f / ".gitattributes").write_text(""), ".gitattributes: not allowed"),
    "file in a subfolder": (
        _subfolder,
        "x.bin: not allowed",
    ),
    "symlinked file": (
        lambda f: (f / "extra.json").symlink_to(f / "config.json"),
        "extra.json: a model folder holds plain",
    ),
    "symlinked folder": (lambda f: (f / "sub").symlink_to(f.parent), "sub: a model folder holds plain"),
    "pipe": (lambda f: os.mkfifo(f / "pipe.json"), "pipe.json: a model folder holds plain"),
    "auto_map": (lambda f: _config(f, auto_map={"AutoModel": "x.Y"}), "config.json: auto_map asks for code"),
    "deep auto_map": (
        lambda f: _config(f, text_config={"a": [{"auto_map": {}}]}),
        "config.json: auto_map asks for code",
    ),
    "trust_remote_code": (lambda f: _config(f, trust_remote_code=True), "trust_remote_code asks for code"),
    "internal attention": (
        lambda f: _config(f, _attn_implementation_internal="x/y"),
        "_attn_implementation_internal asks for code",
    ),
    "hub kernel": (lambda f: _config(f, attn_implementation="some/kernel"), "attn_implementation asks for code"),
    "code in another file": (
        lambda f: (f / "generation_config.json").write_text('{"a": {"trust_remote_code": false}}'),
        "generation_config.json: trust_remote_code asks for code",
    ),
    "hidden by a duplicate key": (
        lambda f: (f / "x.json").write_text('{"a": {"auto_map": {}}, "a": 1}'),
        "x.json: auto_map asks for code",
    ),
    "broken JSON": (lambda f: (f / "config.json").write_text("{"), "config.json: not readable JSON"),
    "JSON that is not UTF-8": (
        lambda f: (f / "config.json").write_bytes(b'{"a": "\xff"}'),
        "config.json: not readable JSON",
    ),
    "deep JSON": (lambda f: (f / "x.json").write_text("[" * 100_000 + "]" * 100_000), "x.json: "),
    "no configuration": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
    "missing shard": (
        lambda f: _shard(
            f, index={"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        ),
        "names 'model-00002-of-00002.safetensors'",
    ),
    "shard elsewhere": (
        lambda f: _shard(f, index={"weight_map": {"a": "../model.safetensors"}}),
        "names '../model.safetensors'",
    ),
    "index without a map": (lambda f: _shard(f, index={"weight_map": []}), "no weight_map"),
    "missing tensor": (
        lambda f: _drop(f, "model.norm.weight"),
        "weights absent or of another shape: model.norm.weight",
    ),
    "tensor of another shape": (_reshape, "model.norm.weight"),
    "truncated weights": (_truncate, "not loadable as a causal language model"),
    "unknown architecture": (
        lambda f: _config(f, model_type="no-such-type"),
        "not loadable as a causal language model",
    ),
    "no tokenizer": (
        _no_tokenizer,
        "not loadable as a causal language model with its tokenizer",
    ),
    "tokenizer with more tokens than the model": (_big_tokenizer, "269 tokens, but the model's embedding has 259"),
}


@pytest.mark.parametrize(("change", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_in_one_line(folder: Path, change: Callable[[Path], object], says: str) -> None:
    change(folder)
    with pytest.raises(BadInput) as caught:
        load_model(folder, device=CPU)
    assert says in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_folder_and_a_link_to_one_are_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    for path in (tmp_path / "nowhere", tmp_path / "link"):
        with pytest.raises(BadInput, match="no such model folder"):
            check_model_folder(path)


def test_documents_and_templates_are_allowed(folder: Path) -> None:
    for name in ("README.md", "LICENSE", "chat_template.jinja", "merges.txt", "vocab.txt"):
        (folder / name).write_text("x")
    check_model_folder(folder)


def test_a_whole_shard_index_is_allowed(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    name = "model-00001-of-00002.safetensors"
    _shard(folder, index={"metadata": {}, "weight_map": dict.fromkeys(tensors, name)})
    loaded = load_model(folder, device=CPU)
    assert torch.equal(loaded.model.state_dict()["model.norm.weight"], tensors["model.norm.weight"])


def test_loading_gives_the_model_its_digest_and_its_context(folder: Path) -> None:
    loaded = load_model(folder, device=CPU, expected_digest=folder_digest(folder))
    assert loaded.ref.digest == folder_digest(folder)
    assert not loaded.model.training
    assert context_length(loaded.model) == CONTEXT
    for name, tensor in tiny_model().state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)


def test_another_digest_is_refused_before_loading(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pipelines.models.loading._load", lambda folder: pytest.fail("loaded before the digest was checked")
    )
    with pytest.raises(BadInput, match="is the model that was meant"):
        load_model(folder, device=CPU, expected_digest="0" * 64)


def test_padding_falls_back_to_the_end_token_and_leaves_the_folder_alone(folder: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    before = folder_digest(folder)
    loaded = load_model(folder, device=CPU)
    assert loaded.pad_id == loaded.tokenizer.eos_token_id
    assert folder_digest(folder) == before


def test_stored_precision_is_remembered(tmp_path: Path) -> None:
    model = tiny_model()
    torch.nn.Module.to(model, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "m")
    tiny_tokenizer().save_pretrained(tmp_path / "m")
    assert load_model(tmp_path / "m", device=CPU).model.dtype == torch.bfloat16
    loaded = load_model(tmp_path / "m", device=CPU, dtype=torch.float32)
    assert (loaded.model.dtype, loaded.stored_dtype) == (torch.float32, torch.bfloat16)


def test_loading_is_quiet_and_leaves_the_library_as_it_was(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    capfd.readouterr()
    loaded = load_model(folder, device=CPU)
    save_model(loaded.model, folder.with_name("copy"), like=folder)
    assert capfd.readouterr() == ("", "")
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == before


def test_saving_an_unchanged_model_gives_the_same_folder(folder: Path, tmp_path: Path) -> None:
    """Weights are written anew, everything else is copied: both copies have the original's digest."""
    (folder / "README.md").write_text("A model.")
    loaded = load_model(folder, device=CPU)
    first = save_model(loaded.model, tmp_path / "a", like=folder)
    second = save_model(load_model(tmp_path / "a", device=CPU).model, tmp_path / "b", like=tmp_path / "a")
    assert first.digest == second.digest == folder_digest(folder)


def test_saving_does_not_overwrite(folder: Path) -> None:
    with pytest.raises(BadInput, match="exists already"):
        save_model(tiny_model(), folder, like=folder)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("Error: No space left on device (os error 28)")],
)
def test_a_full_disk_is_one_line_and_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(source: object, target: object) -> None:
        raise error

    monkeypatch.setattr("pipelines.models.loading.shutil.copyfile", fail)
    with pytest.raises(BadInput, match="no space left on the device") as caught:
        save_model(tiny_model(), tmp_path / "out", like=folder)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("out")) == []


def test_a_really_full_device_is_recognised(tmp_path: Path) -> None:
    """Linux offers a device that is always full; safetensors and Python say so each in their own way."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with pytest.raises(BadInput, match="no space"), full_disk_refused(tmp_path / "x"):
        Path("/dev/full").write_bytes(b"x")
    with (
        pytest.raises(BadInput, match="no space"),
        full_disk_refused(tmp_path / "x"),
        Path("/dev/full").open("wb") as f,
    ):
        f.write(b"x" * 100_000)


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), full_disk_refused(tmp_path / "x"):
        raise PermissionError(errno.EACCES, "no")


def test_devices() -> None:
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(BadInput, match="allowed are auto, cpu, cuda"):
        resolve_device("tpu")


def test_cuda_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match="no usable GPU"):
        resolve_device("cuda")
