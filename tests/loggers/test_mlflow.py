"""MLflow, in a database of this machine: what a run holds, and a resume that goes on with it."""

import pytest

from segtrain.cli import main
from tests.conftest import TINY

pytest.importorskip("mlflow")
WORDS = (*(word for word in TINY if word != "logger=none"), "data.train=8", "trainer.log_every=1", "hydra.run.dir=run")


@pytest.mark.slow  # 8 seconds of imports, and tables to make
def test_a_run_holds_scores_config_and_pictures_and_is_gone_on_with(here, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///flow.db")
    monkeypatch.setenv("MLFLOW_ARTIFACT_ROOT", str(here))
    from mlflow.tracking import MlflowClient

    assert main([*WORDS, "logger=[mlflow]", "trainer.epochs=1"]) == 0
    assert main(["resume", "run", "trainer.epochs=2"]) == 0
    client = MlflowClient("sqlite:///flow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("segtrain").experiment_id])
    assert found.info.run_id == (here / "run" / "mlflow_id").read_text().strip()
    assert found.info.status == "FINISHED"
    assert found.data.params["optimizer.lr"] == "0.001"
    assert [metric.step for metric in client.get_metric_history(found.info.run_id, "train/loss")] == [1, 2, 3, 4]
    assert len(client.get_metric_history(found.info.run_id, "val/iou")) == 2
    assert "best/iou" in found.data.metrics
    assert [file.path for file in client.list_artifacts(found.info.run_id)] == ["val"]
