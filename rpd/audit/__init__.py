"""RunPod's bill, compared with the rentals that runs recorded."""
