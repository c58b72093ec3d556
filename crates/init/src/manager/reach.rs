//! Settings that take more power than this place gives: in a user namespace the kernel lets nobody lower a score or a nice value. The
//! service runs without, as it does in containers under systemd; here that is shown.

use std::sync::OnceLock;

use super::config::Degraded;
use crate::load::Unit;

/// What a unit asks for that cannot be had here.
pub(super) fn out_of_reach(unit: &Unit) -> Vec<Degraded> {
    let is_negative = |text: &str| text.trim().starts_with('-') && text.trim() != "-0";
    ["OOMScoreAdjust", "Nice"]
        .into_iter()
        .filter_map(|key| unit.settings.of("Service", key).next_back())
        .filter(|s| is_negative(s.text()) && !is_powerful())
        .map(|s| Degraded {
            setting: format!("{}={}", s.key, hostel_unit::printable(s.text())),
            file: s.origin.file.to_string(),
            line: s.origin.line,
            why: "only root of the host may go below what is now; it stays as it is",
        })
        .collect()
}

/// Whether we are root of the first user namespace.
fn is_powerful() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| rustix::process::geteuid().is_root() && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| is_first(&map)))
}

/// All of the ids there are, mapped to themselves.
fn is_first(map: &str) -> bool {
    map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        assert!(is_first("         0          0 4294967295\n"));
        assert!(!is_first("         0     524288      65536\n") && !is_first(""));
    }

    #[test]
    fn scores_below_zero_only() {
        let tree = crate::testing::Tree::new("reach");
        tree.unit("a.service", "[Service]\nExecStart=/bin/true\nOOMScoreAdjust=-900\nNice=5\n");
        let unit = tree.load("a.service");
        let found: Vec<String> = out_of_reach(&unit).into_iter().map(|d| d.setting).collect();
        assert_eq!(found, if is_powerful() { Vec::new() } else { vec!["OOMScoreAdjust=-900".to_owned()] });
    }
}
