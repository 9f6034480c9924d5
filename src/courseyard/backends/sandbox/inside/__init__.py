"""Programs that run inside a server's namespaces; they import nothing of Courseyard."""
