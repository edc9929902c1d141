"""The whole run: collect -> select -> plan -> execute -> report, a hook on each arrow."""
