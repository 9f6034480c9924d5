"""Where students' code runs when an instructor autogrades: programs for the second sandbox."""
