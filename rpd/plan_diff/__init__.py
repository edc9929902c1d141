"""What a change of the tree means for the nodes: new, changed, cached, gone, and what they may cost."""
