//! How each init wants to be asked: first choice first, as measured (spec/overlay-and-inits.md 4.1).

use super::fingerprint::{Evidence, InitKind};
use crate::supervisor::run::Goal;

/// One way to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// A signal to PID 1, by raw number.
    Signal(i32),
    /// System V init's request at its FIFO: change to this run level.
    Runlevel(u8),
    /// A line into a FIFO of the tree.
    Line(&'static str, &'static str),
    /// A command run in the machine.
    Run(&'static [&'static str]),
    /// SIGKILL: the program takes nothing else.
    Kill,
}

const HUP: i32 = 1;
const INT: i32 = 2;
const QUIT: i32 = 3;
const USR1: i32 = 10;
const USR2: i32 = 12;
const TERM: i32 = 15;
const PWR: i32 = 30;
/// glibc's SIGRTMIN+3 … +5 (halt, power off, reboot for systemd).
const HALT: i32 = 37;
const OFF: i32 = 38;
const REBOOT: i32 = 39;

use Method::{Kill, Line, Run, Runlevel, Signal};

/// The ways to reach `goal`, best first. Empty: it is on its way already.
pub fn methods(kind: InitKind, goal: Goal, evidence: &Evidence) -> Vec<Method> {
    // A systemd built with musl counts its real-time signals from 35.
    let rt = |signal: i32| Signal(signal + evidence.rt_shift());
    let takes = |signal: i32| evidence.facts.takes(signal);
    match (kind, goal) {
        (InitKind::Systemd, Goal::PowerOff) => vec![rt(OFF), rt(HALT), Run(&["systemctl", "poweroff"]), Run(&["init", "0"])],
        (InitKind::Systemd, Goal::Reboot) => vec![rt(REBOOT), Signal(INT)],
        // From 3.10 on it takes SIGRTMIN+4 as well.
        (InitKind::Sysvinit, Goal::PowerOff) if takes(OFF) => vec![Signal(OFF), Runlevel(b'0'), Run(&["init", "0"]), Run(&["poweroff"])],
        // Built with musl, the same one higher.
        (InitKind::Sysvinit, Goal::PowerOff) if takes(OFF + 1) => vec![Signal(OFF + 1), Runlevel(b'0'), Run(&["init", "0"]), Run(&["poweroff"])],
        (InitKind::Sysvinit, Goal::PowerOff) => vec![Runlevel(b'0'), Run(&["init", "0"]), Run(&["poweroff"])],
        (InitKind::Sysvinit, Goal::Reboot) => vec![Runlevel(b'6'), Signal(INT)],
        (InitKind::OpenrcInit, Goal::PowerOff) => {
            vec![Signal(TERM), Line("run/openrc/init.ctl", "poweroff"), Run(&["openrc-shutdown", "-p", "now"]), Run(&["poweroff"])]
        }
        (InitKind::OpenrcInit, Goal::Reboot) => vec![Signal(INT), Line("run/openrc/init.ctl", "reboot")],
        // Debian's takes SIGPWR; in its first stage it takes nothing, which is why requests are repeated.
        (InitKind::Runit, Goal::PowerOff) if takes(PWR) => vec![Run(&["/sbin/init", "0"]), Signal(PWR), Run(&["poweroff"])],
        (InitKind::Runit, Goal::PowerOff) => vec![Run(&["/sbin/init", "0"]), Run(&["runit-init", "0"]), Run(&["poweroff"])],
        (InitKind::Runit, Goal::Reboot) => vec![Run(&["/sbin/init", "6"])],
        (InitKind::S6, Goal::PowerOff) if evidence.s6_term_shuts_down => vec![Signal(TERM), Signal(PWR), Run(&["poweroff"])],
        (InitKind::S6, Goal::PowerOff) => vec![Signal(USR1), Signal(PWR), Signal(TERM), Run(&["poweroff"])],
        (InitKind::S6, Goal::Reboot) => vec![Signal(INT)],
        (InitKind::Busybox, Goal::PowerOff) => vec![Signal(USR2), Signal(USR1), Run(&["poweroff"])],
        (InitKind::Busybox, Goal::Reboot) => vec![Signal(TERM)],
        (InitKind::Dinit, Goal::PowerOff) => vec![Signal(TERM), Signal(QUIT), Run(&["dinitctl", "shutdown"]), Run(&["poweroff"])],
        (InitKind::Dinit, Goal::Reboot) => vec![Signal(INT)],
        (InitKind::Finit, Goal::PowerOff) => vec![Signal(USR2), Run(&["initctl", "poweroff"]), Run(&["poweroff"])],
        (InitKind::Finit, Goal::Reboot) => vec![Signal(TERM)],
        (InitKind::Shepherd, Goal::PowerOff) => vec![Run(&["herd", "power-off", "root"]), Signal(TERM), Signal(HUP)],
        (InitKind::Shepherd, Goal::Reboot) => vec![Signal(HUP)],
        // Ours ignores TERM, as systemd-nspawn's does.
        (InitKind::Stub, Goal::PowerOff) if evidence.facts.name == b"(sd-stubinit)" => vec![Signal(OFF)],
        (InitKind::Stub, Goal::PowerOff) => vec![Signal(TERM), Signal(OFF)],
        (InitKind::Stub, Goal::Reboot) => vec![Signal(REBOOT)],
        (InitKind::Generic, Goal::PowerOff) if takes(HALT) => vec![Signal(HALT), Signal(TERM)],
        (InitKind::Generic, Goal::PowerOff) if takes(TERM) => vec![Signal(TERM)],
        // An init of a kind we do not know gets what systemd-nspawn sends, until its time is up; in between SIGTERM, for those
        // in sigtimedwait(2), during which no mask shows what they wait for. The kernel drops it for a PID 1 without a handler.
        (InitKind::Generic, Goal::PowerOff) if evidence.booted => vec![Signal(HALT), Signal(TERM)],
        (InitKind::Generic, Goal::PowerOff) => vec![Kill],
        (InitKind::Ending, _) => Vec::new(),
        (InitKind::Generic, Goal::Reboot) => vec![Signal(REBOOT)],
    }
}

/// Which method to use in round `n` (from 0): the best one three times, then all in turn.
pub fn choose(methods: &[Method], round: u32) -> Option<&Method> {
    let index = if round < 3 { 0 } else { (round as usize - 2) % methods.len().max(1) };
    methods.get(index)
}

/// System V init's request (384 bytes, as in its initreq.h): magic, command "run level", the level.
pub fn runlevel_request(level: u8) -> [u8; 384] {
    let mut request = [0u8; 384];
    request[0..4].copy_from_slice(&0x0309_1969u32.to_ne_bytes());
    request[4..8].copy_from_slice(&1u32.to_ne_bytes());
    request[8..12].copy_from_slice(&u32::from(level).to_ne_bytes());
    request
}
