//! Privileges and limits (spec/nspawn.md 1.1e).

use super::OptionId as Id;
use super::OptionRow;
use super::Takes::Value;

const SELINUX: &str = "refused on a host without SELinux, where the label could not be applied; not tested on one with it";

pub(super) const SECURITY: &[OptionRow] = &[
    OptionRow::new(Id::Capability, "", &["capability"], Value("CAP,…"), "Keep these capabilities too, or all")
        .since(186)
        .trusted_key("[Exec] Capability="),
    OptionRow::new(Id::DropCapability, "", &["drop-capability"], Value("CAP,…"), "Take these capabilities away; wins over --capability=")
        .since(209)
        .key("[Exec] DropCapability="),
    OptionRow::new(Id::AmbientCapability, "", &["ambient-capability"], Value("CAP,…"), "Give these to the command even when it is not root")
        .since(248)
        .trusted_key("[Exec] AmbientCapability="),
    OptionRow::new(Id::NoNewPrivileges, "", &["no-new-privileges"], Value("BOOL"), "Nothing inside gains privileges by execve(2)")
        .since(239)
        .key("[Exec] NoNewPrivileges="),
    OptionRow::new(Id::SystemCallFilter, "", &["system-call-filter"], Value("[~]NAME…"), "Allow, or with ~ forbid, system calls and @groups")
        .since(235)
        .key("[Exec] SystemCallFilter=")
        .better("one program instead of one filter per architecture and kind"),
    OptionRow::new(Id::RestrictAddressFamilies, "", &["restrict-address-families"], Value("[~]FAMILY…"), "Which socket families may be used")
        .since(261)
        .key("[Exec] RestrictAddressFamilies=")
        .differs("part of the one system call filter: refused with SYSTEMD_SECCOMP=0; old 32-bit programs get no sockets at all"),
    OptionRow::new(Id::SelinuxContext, "Z", &["selinux-context"], Value("LABEL"), "SELinux label of the processes")
        .since(209)
        .partly("processes that `hostel exec` starts keep the caller's")
        .differs(SELINUX),
    OptionRow::new(Id::SelinuxApifsContext, "L", &["selinux-apifs-context"], Value("LABEL"), "SELinux label of API file systems")
        .since(209)
        .differs(SELINUX),
];

pub(super) const RESOURCES: &[OptionRow] = &[
    OptionRow::new(Id::Rlimit, "", &["rlimit"], Value("NAME=LIMIT"), "Limit of setrlimit(2): SOFT[:HARD], or infinity")
        .since(239)
        .trusted_key("[Exec] Limit…=")
        .better("names in any case; a hard limit above the host's is lowered with a notice"),
    OptionRow::new(Id::OomScoreAdjust, "", &["oom-score-adjust"], Value("N"), "Readiness to be killed when memory runs out, -1000…1000")
        .since(239)
        .trusted_key("[Exec] OOMScoreAdjust="),
    OptionRow::new(Id::CpuAffinity, "", &["cpu-affinity"], Value("CPUS"), "CPUs the machine runs on, for example 0-3,5")
        .since(239)
        .trusted_key("[Exec] CPUAffinity=")
        .differs("a range that ends before it begins is refused, not ignored"),
    OptionRow::new(Id::Personality, "", &["personality"], Value("ARCH"), "What uname(2) says: x86-64 or x86").since(209).key("[Exec] Personality="),
    OptionRow::new(Id::Memory, "", &["memory"], Value("SIZE"), "Most memory the machine may use, for example 512M or 25%")
        .trusted_key("[X-Hostel-Resources] Memory="),
    OptionRow::new(Id::Cpus, "", &["cpus"], Value("NUMBER"), "Most CPUs' worth of time it may use, for example 1.5")
        .trusted_key("[X-Hostel-Resources] Cpus="),
    OptionRow::new(Id::Pids, "", &["pids"], Value("NUMBER"), "Most processes and threads it may have").trusted_key("[X-Hostel-Resources] Pids="),
];
