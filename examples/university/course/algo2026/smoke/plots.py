"""What week 1 needs of the software: diagrams without a display, with formulas in them.

`courseyard images check` runs the files of this folder with the image that the course will get;
it must end without an error.
"""

import io

import matplotlib.pyplot as plt

plt.plot([1, 2, 3], label=r"$c \cdot n \log_2 n$")
plt.legend()
picture = io.BytesIO()
plt.savefig(picture)
assert picture.getvalue().startswith(b"\x89PNG"), "no picture was drawn"
