"""One machine: a server runs in bubblewrap namespaces under its person's UID."""
