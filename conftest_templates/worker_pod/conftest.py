"""One pod for each slot of `-n` instead of one for each node: a sweep of 100 nodes on `-n 8` boots 8 pods."""

import rpd


@rpd.fixture(scope="worker")
def pod(provision):
    """A pod that all nodes of a slot use one after the other; the job of the first node defines the pod."""
    with provision() as made:
        made.run("python --version", name="set up")  # what every node needs, done once for each pod
        yield made
