"""THE PROJECT FOLDER: which files are staged, and what state they are in."""
