"""THE JOURNAL: what a run writes down while it is under way, and what a later process reads there."""
