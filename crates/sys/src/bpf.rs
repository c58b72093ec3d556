//! Device programs for cgroup2 (BPF_PROG_TYPE_CGROUP_DEVICE).
