"""What nbgrader takes from Courseyard; a server has a copy beside its nbgrader configuration."""
