"""The provider: pods rented from RunPod, and the stand-ins for dry runs."""
