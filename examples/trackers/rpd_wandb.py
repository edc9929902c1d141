"""Sends every node to Weights & Biases: parameters, series, metrics, artifacts, cost. ``rpd run -p rpd_wandb``.

``WANDB_MODE=offline`` writes to ``./wandb``, to be sent later with ``wandb sync``. One group for each run of rpd. A
node that is handed over again (after ``rpd resume``) goes on under the same id.
"""

import hashlib
from pathlib import Path

from rpd.errors import UsageError


def rpd_addoption(options):
    options.add("--wandb-project", default="rpd", help="the project at W&B")


def rpd_configure(config):
    try:
        import wandb  # noqa: F401
    except ImportError:
        raise UsageError("rpd_wandb needs W&B's package: pip install wandb") from None
    global project
    project = config.plugin_options["wandb_project"]


project = "rpd"


def rpd_hand_over(handed):
    import wandb

    report = handed.report
    run = wandb.init(
        project=project,
        id=hashlib.sha256(handed.name.encode()).hexdigest()[:16],
        name=handed.name,
        group=handed.run,
        job_type=report.node.job,
        config=dict(handed.parameters),
        resume="allow",
        reinit="create_new",
        settings=wandb.Settings(console="off", silent=True, disable_git=True, x_disable_stats=True),
    )
    try:
        for step, values in sorted(_by_step(handed.series).items()):
            run.log({**values, "step": step})
        run.summary.update(
            {
                **handed.metrics,
                "rpd/usd": handed.usd,
                "rpd/billed_seconds": report.cost.billed_seconds,
                "rpd/outcome": str(report.result.outcome),
                "rpd/node": handed.node,
                "rpd/owner": report.node.owner,
                "rpd/git": report.source.git_sha,
                "rpd/gpu": report.pod.gpu if report.pod else "",
            }
        )
        if handed.artifacts:
            files = wandb.Artifact(f"{run.id}-files", type="results")
            for path in handed.artifacts:
                if Path(path).is_dir():
                    files.add_dir(path, name=Path(path).name)
                else:
                    files.add_file(path)
            run.log_artifact(files)
    finally:
        run.finish(exit_code=0 if report.result.outcome.is_ok else 1)


def _by_step(series):
    steps = {}
    for name, points in series.items():
        for step, value in points:
            steps.setdefault(step, {})[name] = value
    return steps
