//! Process attributes: prctl, rlimits, personality, affinity.
