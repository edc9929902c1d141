"""What RunPod charged, held against what runs say that they rented."""
