"""Terminal output: tables of results, and a message while the program loads."""
