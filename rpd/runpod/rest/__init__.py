"""RunPod's REST API, version 2."""
