"""Images: families of software with dated releases."""
