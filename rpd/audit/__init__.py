"""What RunPod charged, compared with what runs say that they rented."""
