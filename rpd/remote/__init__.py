"""THE FAR END: what is done on a pod, over SSH."""
