"""The HTML report: `write_report(root)` writes `root/index.html` and `root/report/` from the results in `root`.

It reads only the results, and the folder is self-contained.
"""

from deepinside.html_report.write import refresh, write_report

__all__ = ["refresh", "write_report"]
