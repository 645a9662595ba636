"""The command line: thin layers over the Python interface, one command a file."""
