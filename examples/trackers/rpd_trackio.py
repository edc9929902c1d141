"""Sends every node to Trackio: parameters, series, metrics, artifacts, cost. ``rpd run -p rpd_trackio``.

Trackio keeps everything on this machine (``TRACKIO_DIR``); ``trackio show`` opens it. One project for each job.
"""

import re
from pathlib import Path

from rpd.errors import UsageError


def rpd_configure(config):
    try:
        import trackio  # noqa: F401
    except ImportError:
        raise UsageError("rpd_trackio needs Trackio: pip install trackio") from None


def rpd_hand_over(handed):
    import trackio

    report = handed.report
    config = {
        **{
            name: value if isinstance(value, str | int | float | bool) else str(value)
            for name, value in handed.parameters.items()
        },
        "rpd_node": handed.node,
        "rpd_run": handed.run,
        "rpd_owner": report.node.owner,
        "rpd_git": report.source.git_sha,
        "rpd_gpu": report.pod.gpu if report.pod else "",
    }
    run = trackio.init(
        project=report.node.job,
        name=handed.name,
        group=handed.run,
        config=config,
        resume="allow",
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )
    try:
        steps = {}
        for name, points in handed.series.items():
            for step, value in points:
                steps.setdefault(int(step), {})[name] = value
        for step, values in sorted(steps.items()):
            run.log(values, step=step)
        last = max(steps, default=0) + 1
        run.log(
            {**handed.metrics, "rpd_usd": handed.usd, "rpd_passed": int(report.result.outcome.is_ok)},
            step=last,
        )
        if handed.artifacts:
            files = trackio.Artifact(re.sub(r"[^A-Za-z0-9_.-]+", "-", handed.name), type="results")
            for path in handed.artifacts:
                if Path(path).is_dir():
                    files.add_dir(path, name=Path(path).name)
                else:
                    files.add_file(path)
            run.log_artifact(files)
    finally:
        run.finish()
