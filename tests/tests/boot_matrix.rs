//! Every init we have a tree for: boot, enter, stop early, late and twice, reboot, nothing left over.
