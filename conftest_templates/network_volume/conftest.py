"""Data that stays: a network volume holds it between runs, and every pod that mounts it finds it there."""

import rpd


@rpd.fixture
def dataset(pod):
    """The folder of the data on the network volume; the first node fetches it, later ones find it."""
    folder = f"{pod.workspace}/dataset"
    fetch = f"mkdir -p {folder} && echo 42 > {folder}/data"  # your download
    pod.run(f"test -e {folder}/complete || ({fetch} && touch {folder}/complete)", name="fetch the data")
    return folder
