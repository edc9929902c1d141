"""Fixtures for the deploy files of this folder and of those below it. Jobs ask for them by name."""

# import rpd
#
#
# @rpd.fixture
# def checkpoint(pod, staged_dir):
#     """Runs before the job; the code after the yield runs whatever the outcome."""
#     pod.run("python download_checkpoint.py", cwd=staged_dir)
#     yield "/workspace/checkpoint"
#     pod.pull("/workspace/checkpoint/", required=False)
