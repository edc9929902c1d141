"""The page: a run as one HTML file, and the same page served live."""
