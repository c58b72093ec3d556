//! A machine's cgroup: placement, limits, devices, freezer, end.
