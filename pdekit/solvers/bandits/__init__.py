"""Learning which of several arms is best while they are used."""
