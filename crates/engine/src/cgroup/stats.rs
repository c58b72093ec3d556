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
    /// The most it may be, in bytes; `None`, too: as much as there is.
    pub memory_limit: Option<u64>,
    /// Bytes of swap in use.
    pub swap_current: Option<u64>,
    /// Processes and threads.
    pub pids_current: Option<u64>,
    /// How many there may be.
    pub pids_limit: Option<u64>,
    /// How often that was hit.
    pub pids_refused: Option<u64>,
    /// CPU time spent, in microseconds.
    pub cpu_usec: Option<u64>,
    /// CPU time it may have, in microseconds for each second.
    pub cpu_quota: Option<u64>,
    /// Processes killed for want of memory.
    pub oom_kills: Option<u64>,
}

fn number(dir: BorrowedFd<'_>, file: &str) -> Option<u64> {
    files::read(dir, file).ok()?.trim().parse().ok()
}

fn keyed(dir: BorrowedFd<'_>, file: &str, key: &str) -> Option<u64> {
    files::field(&files::read(dir, file).ok()?, key)
}

/// Version 1 says "no limit" with a number that nobody has.
const UNLIMITED: u64 = 1 << 60;

/// `max 100000` or `50000 100000`.
fn quota(dir: BorrowedFd<'_>) -> Option<u64> {
    let text = files::read(dir, "cpu.max").ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    per_second(quota.parse().ok()?, period.parse().ok()?)
}

fn per_second(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(1_000_000)?.checked_div(period)
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
            memory_limit: number(v2, "memory.max"),
            swap_current: number(v2, "memory.swap.current"),
            oom_kills: keyed(v2, "memory.events", "oom_kill"),
            pids_current: number(v2, "pids.current"),
            pids_limit: number(v2, "pids.max"),
            cpu_quota: quota(v2),
            pids_refused: refused(v2),
        };
        for dir in self.v1_dirs() {
            if let Some(memory) = number(dir, "memory.usage_in_bytes") {
                stats.memory_current = Some(memory);
                stats.memory_peak = number(dir, "memory.max_usage_in_bytes");
                stats.memory_limit = number(dir, "memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED);
                stats.swap_current = number(dir, "memory.memsw.usage_in_bytes").map(|both| both.saturating_sub(memory));
                stats.oom_kills = keyed(dir, "memory.oom_control", "oom_kill");
            }
            if let Some(pids) = number(dir, "pids.current") {
                stats.pids_current = Some(pids);
                stats.pids_limit = number(dir, "pids.max");
                stats.pids_refused = keyed(dir, "pids.events", "max");
            }
            stats.cpu_quota = stats.cpu_quota.or_else(|| per_second(number(dir, "cpu.cfs_quota_us")?, number(dir, "cpu.cfs_period_us")?));
        }
        stats
    }
}
