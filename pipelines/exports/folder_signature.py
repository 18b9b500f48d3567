"""An OpenSSF model-signing bundle of a model folder, for those whose tools look for one.

A view: it binds the folder's bytes to a key and nothing else, neither name, version nor parent, which the certificate
does. The library's defaults would let ``.git*`` files be added unnoticed; they are signed here like every other. It
signs with an elliptic-curve key of its own, never with one of Lethe's Ed25519 keys.
"""

import tempfile
from importlib import import_module
from pathlib import Path

from pipelines.errors import BadInput

EXTRA = "pip install 'lethe-unlearning[model-signing]'"


def model_signature(folder: Path, *, key: Path) -> bytes:
    """The bundle, in the format of Sigstore.

    Args:
        folder: the model; every file in it is signed.
        key: PEM file of a private key on the curve P-256, P-384 or P-521.

    Raises:
        BadInput: the library is not installed, or the key cannot be used.
    """
    try:
        # by name: an extra that only some users install
        hashing, signing = import_module("model_signing.hashing"), import_module("model_signing.signing")
    except ImportError:
        problem = f"--format model-signing: the library is not installed; {EXTRA}"
    else:
        files = hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "model.sig"
            try:
                signer = signing.Config().use_elliptic_key_signer(private_key=key)
                signer.set_hashing_config(files).sign(folder, out)
            except (ValueError, TypeError, OSError) as error:
                problem = f"{key}: {type(error).__name__}; an elliptic-curve private key in PEM is needed (P-256)"
            else:
                return out.read_bytes()
    raise BadInput(problem)
