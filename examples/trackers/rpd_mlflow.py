"""Sends every node to MLflow: parameters, series, metrics, artifacts, cost. ``rpd run -p rpd_mlflow``.

It writes to where MLflow always writes: ``MLFLOW_TRACKING_URI``, else a local store. One experiment for each job.
"""

from pathlib import Path

from rpd.errors import UsageError

OUTCOMES = {"passed": "FINISHED", "xfailed": "FINISHED", "pruned": "KILLED"}


def rpd_configure(config):
    try:
        import mlflow  # noqa: F401
    except ImportError:
        raise UsageError("rpd_mlflow needs MLflow: pip install mlflow-skinny") from None


def rpd_hand_over(handed):
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    report = handed.report
    run = client.create_run(
        _experiment(client, report.node.job), run_name=handed.name, start_time=_ms(report.result.started)
    )
    run_id = run.info.run_id
    curves = [
        Metric(name, value, timestamp=_ms(report.result.started), step=int(step))
        for name, points in handed.series.items()
        for step, value in points
    ]
    numbers = {**handed.metrics, "rpd.usd": handed.usd, "rpd.billed_seconds": report.cost.billed_seconds}
    last = [
        Metric(name, value, timestamp=_ms(report.result.finished), step=0)
        for name, value in numbers.items()
        if name not in handed.series
    ]
    tags = {
        "rpd.run": handed.run,
        "rpd.node": handed.node,
        "rpd.outcome": str(report.result.outcome),
        "rpd.owner": report.node.owner,
        "mlflow.source.git.commit": report.source.git_sha,
        "rpd.gpu": report.pod.gpu if report.pod else "",
    }
    for start in range(0, len(curves) + len(last), 1000):
        client.log_batch(run_id, metrics=[*curves, *last][start : start + 1000])
    client.log_batch(
        run_id,
        params=[Param(name, str(value)[:500]) for name, value in handed.parameters.items()],
        tags=[RunTag(name, value) for name, value in tags.items() if value],
    )
    for path in handed.artifacts:
        if Path(path).is_dir():
            client.log_artifacts(run_id, path, artifact_path=Path(path).name)
        else:
            client.log_artifact(run_id, path)
    client.set_terminated(
        run_id, OUTCOMES.get(str(report.result.outcome), "FAILED"), end_time=_ms(report.result.finished)
    )


def _experiment(client, name):
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)


def _ms(moment):
    from datetime import datetime

    return int(datetime.fromisoformat(moment).timestamp() * 1000)
