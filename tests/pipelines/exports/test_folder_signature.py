"""A model-signing bundle: made where the library is, checked with it; a clear line where it is not."""

import importlib.util
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from pipelines.errors import BadInput
from pipelines.exports.folder_signature import model_signature

INSTALLED = importlib.util.find_spec("model_signing") is not None


@pytest.fixture
def key(tmp_path: Path) -> Path:
    made = ec.generate_private_key(ec.SECP256R1())
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public)
    path = tmp_path / "private.pem"
    path.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    return made


@pytest.mark.skipif(INSTALLED, reason="the extra model-signing is installed")
def test_without_the_library_the_way_to_get_it_is_named(folder: Path, key: Path) -> None:
    with pytest.raises(BadInput, match="not installed; pip install"):
        model_signature(folder, key=key)


@pytest.mark.skipif(not INSTALLED, reason="the extra model-signing is not installed")
def test_the_library_verifies_the_bundle_and_sees_an_added_git_file(folder: Path, key: Path, tmp_path: Path) -> None:
    from model_signing import hashing, verifying

    signature = tmp_path / "model.sig"
    signature.write_bytes(model_signature(folder, key=key))

    def verify() -> None:
        files = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "public.pem")
        verifier.set_hashing_config(files).verify(folder, signature)

    verify()
    (folder / ".gitattributes").write_text("*")
    with pytest.raises(ValueError, match="mismatch"):
        verify()


@pytest.mark.skipif(not INSTALLED, reason="the extra model-signing is not installed")
def test_a_key_that_cannot_sign_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "no.pem"
    path.write_text("no key")
    with pytest.raises(BadInput, match="elliptic-curve private key"):
        model_signature(folder, key=path)
