"""An image's own tests: run inside it as an ordinary user, told as one result for each test."""
