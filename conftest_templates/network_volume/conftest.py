"""Data that stays: a network volume keeps it between runs, for every pod that mounts it."""

import rpd


@rpd.fixture
def dataset(pod):
    """The folder of the data on the network volume; the first node fetches it, later nodes reuse it."""
    folder = f"{pod.workspace}/dataset"
    fetch = f"mkdir -p {folder} && echo 42 > {folder}/data"  # your download
    pod.run(f"test -e {folder}/complete || ({fetch} && touch {folder}/complete)", name="fetch the data")
    return folder
