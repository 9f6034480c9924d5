"""Plan: what one server gets, decided purely."""
