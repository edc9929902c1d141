"""One pod as a job sees it: renting it, the handle, its steps, what is pulled, how long it lives."""
