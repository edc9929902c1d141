"""One pod as a job sees it: renting, the handle, steps, pulls, and its lifetime."""
