"""The provider: pods rented from RunPod, and the recorder that stands in for it in a dry run."""
