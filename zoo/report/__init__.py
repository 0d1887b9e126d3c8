"""Everything that a person reads of runs and sweeps: text, pages, pictures."""
