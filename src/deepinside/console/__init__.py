"""What the terminal shows: tables of results, and a word while the program loads."""
