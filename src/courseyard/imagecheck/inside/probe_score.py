"""The points of a submission: ``probe_score.py GRADEBOOK COURSE ASSIGNMENT STUDENT``."""

from __future__ import annotations

import json
import sys

from nbgrader.api import Gradebook

url, course, assignment, student = sys.argv[1:]
with Gradebook(url, course) as book:
    print("answer: " + json.dumps(book.find_submission(assignment, student).score), flush=True)
