"""The nouns of rpd: frozen, keyword-only, standard library only, no I/O and no clock."""
