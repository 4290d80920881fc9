"""The report people open: `write_report(root)` writes `root/index.html` and `root/report/` from what lies on disk.

It reads nothing but the results, so whatever made them has no part in it, and the folder can be sent as it is.
"""

from deepinside.html_report.write import refresh, write_report

__all__ = ["refresh", "write_report"]
