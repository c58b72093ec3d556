//! The systemd-nspawn dialect: its command line becomes a MachineSpec. Pure.
