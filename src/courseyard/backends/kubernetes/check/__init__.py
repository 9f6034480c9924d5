"""What would fail in the cluster, told beforehand; ``courseyard check --kubernetes``.

``wanted`` reads what the site's files ask for, ``look`` what stands in the cluster, ``probe`` tries it
with short-lived pods. ``standing``, ``claims`` and ``verdict`` decide: values in, problems out.
"""
