//! What a machine uses: memory, tasks, CPU time, and whether it was refused some.

use std::os::fd::BorrowedFd;

use super::files;
use super::machine::{LEAVES, MachineCgroup};

/// Figures of a running machine. `None`: no controller counts that here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes of memory in use, page cache included.
    pub memory_current: Option<u64>,
    /// The most it ever was, in bytes.
    pub memory_peak: Option<u64>,
    /// Bytes of swap in use.
    pub swap_current: Option<u64>,
    /// Processes and threads.
    pub pids_current: Option<u64>,
    /// How often the limit on them was hit.
    pub pids_refused: Option<u64>,
    /// CPU time spent, in microseconds.
    pub cpu_usec: Option<u64>,
    /// Processes killed for want of memory.
    pub oom_kills: Option<u64>,
}

fn number(dir: BorrowedFd<'_>, file: &str) -> Option<u64> {
    files::read(dir, file).ok()?.trim().parse().ok()
}

fn keyed(dir: BorrowedFd<'_>, file: &str, key: &str) -> Option<u64> {
    files::field(&files::read(dir, file).ok()?, key)
}

/// Linux 6.11 and newer count a refusal where the limit is, older ones in the group of the refused task: in a leaf, where
/// the controllers are the guest's. What its own groups below refused it, old kernels tell only there.
fn refused(machine: BorrowedFd<'_>) -> Option<u64> {
    let top = keyed(machine, "pids.events", "max");
    let leaves = LEAVES.iter().filter_map(|leaf| keyed(machine, &format!("{leaf}/pids.events"), "max")).reduce(u64::saturating_add);
    top.max(leaves)
}

impl MachineCgroup {
    /// Reads the figures; what cannot be read is `None`.
    pub fn stats(&self) -> Stats {
        let v2 = self.dir();
        let mut stats = Stats {
            // cpu.stat counts usage_usec even without the cpu controller (Linux 4.15).
            cpu_usec: keyed(v2, "cpu.stat", "usage_usec"),
            memory_current: number(v2, "memory.current"),
            memory_peak: number(v2, "memory.peak"),
            swap_current: number(v2, "memory.swap.current"),
            oom_kills: keyed(v2, "memory.events", "oom_kill"),
            pids_current: number(v2, "pids.current"),
            pids_refused: refused(v2),
        };
        for dir in self.v1_dirs() {
            if let Some(memory) = number(dir, "memory.usage_in_bytes") {
                stats.memory_current = Some(memory);
                stats.memory_peak = number(dir, "memory.max_usage_in_bytes");
                stats.swap_current = number(dir, "memory.memsw.usage_in_bytes").map(|both| both.saturating_sub(memory));
                stats.oom_kills = keyed(dir, "memory.oom_control", "oom_kill");
            }
            if let Some(pids) = number(dir, "pids.current") {
                stats.pids_current = Some(pids);
                stats.pids_refused = keyed(dir, "pids.events", "max");
            }
        }
        stats
    }
}
