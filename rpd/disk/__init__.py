"""FILES THAT OTHERS NAMED: reading and writing in folders where a pod, or another person, chose the names."""
