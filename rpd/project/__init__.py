"""THE PROJECT FOLDER: the staged files, and the state of the code in git."""
