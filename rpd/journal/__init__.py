"""THE JOURNAL: the events a run writes while it is running, and their reading by a later process."""
