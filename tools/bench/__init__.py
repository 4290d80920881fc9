"""How fast deepinside is beside its peers, on this machine: `make bench`.

Every workload is done by deepinside and by others that do the same work, in turn and in one process, so that whatever
else the machine does falls on all of them alike. Only ratios of neighbouring times are believed, and only of ways
whose numbers agree.
"""
