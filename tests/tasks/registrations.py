"""A registration of the tiny model, and where its bytes end up."""

from pathlib import Path

from pipelines.audit.manifest import folder_digest
from pipelines.home import Home
from pipelines.records import Candidate, Evaluation, Measurement, ModelRef, SealedSet
from tasks.registry import Registration
from tasks.tracking import tracking

FORGET = SealedSet(role="forget", commitment="a1" * 32, count=3)
RETAIN = SealedSet(role="retain", commitment="b2" * 32, count=40)


def registered_as(request_id: str, *, folder: Path, certificate: str = "c3") -> Registration:
    path = folder.with_name("certificate.json")
    path.write_text("{}")
    digest = folder_digest(folder)
    made = Candidate(
        model=ModelRef(path=str(folder), digest=digest),
        parent_digest="d4" * 32,
        method="npo",
        method_version="1",
        params_digest="e5" * 32,
        steps=10,
        epochs=2,
        stop_reason="epochs",
    )
    return Registration(
        request_id=request_id,
        name="lethe",
        candidate=made,
        forget=FORGET,
        retain=RETAIN,
        evaluations=(
            Evaluation(role="start", model_digest="d4" * 32, measurements=(measured("extraction_strength", 0.95),)),
            Evaluation(
                role="candidate",
                model_digest=digest,
                measurements=(measured("extraction_strength", 0.05), measured("truth_ratio", None)),
            ),
        ),
        settings={"method": "npo", "params.beta": 0.1, "training.epochs": 2},
        config_digest="f6" * 32,
        policy_digest="07" * 32,
        certificate_path=str(path),
        certificate_digest=certificate * 32,
    )


def measured(metric: str, value: float | None) -> Measurement:
    return Measurement(
        metric=metric,
        version="1",
        split="forget",
        value=value,
        low=None if value is None else value - 0.01,
        high=None if value is None else value + 0.01,
        n_scored=0 if value is None else 3,
        n_expected=3,
        items_digest="18" * 32,
    )


def stored_folder(home: Home) -> Path:
    [folder] = (home.root / "mlflow" / "artifacts" / "models").iterdir()
    return folder / "artifacts"


def nothing_registered(home: Home) -> bool:
    with tracking(home) as mlflow:
        return not mlflow.client.search_model_versions("name = 'lethe'")
