"""What runs inside a server: it needs the image's Python and Jupyter, nothing of Courseyard."""
