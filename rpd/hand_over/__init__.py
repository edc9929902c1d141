"""Hand-over: what nodes leave, given to plugins that keep it elsewhere."""
