"""The course page, the links that always work, and the pages around a start."""
