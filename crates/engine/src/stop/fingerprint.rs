//! Which init a PID 1 is: by the program it runs, confirmed by the signals it waits for.

use std::os::fd::BorrowedFd;
use std::path::Path;

use hostel_image::inroot;

use crate::aside;
use crate::enter::{Facts, Leader};

/// Families of inits, by how they want to be stopped (spec/overlay-and-inits.md 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitKind {
    /// systemd.
    Systemd,
    /// System V init, also as OpenRC's or another's PID 1.
    Sysvinit,
    /// OpenRC's own init.
    OpenrcInit,
    /// runit.
    Runit,
    /// s6-svscan.
    S6,
    /// busybox init.
    Busybox,
    /// dinit.
    Dinit,
    /// finit.
    Finit,
    /// GNU shepherd.
    Shepherd,
    /// A stub that forwards signals to one child: tini, dumb-init, catatonit, hostel's own.
    Stub,
    /// The last program of an init that is ending the machine already: nothing is to be asked.
    Ending,
    /// Any program.
    Generic,
}

impl InitKind {
    /// As shown by `hostel ps`.
    pub fn as_str(self) -> &'static str {
        match self {
            InitKind::Systemd => "systemd",
            InitKind::Sysvinit => "sysvinit",
            InitKind::OpenrcInit => "openrc-init",
            InitKind::Runit => "runit",
            InitKind::S6 => "s6",
            InitKind::Busybox => "busybox",
            InitKind::Dinit => "dinit",
            InitKind::Finit => "finit",
            InitKind::Shepherd => "shepherd",
            InitKind::Stub => "stub",
            InitKind::Ending => "ending",
            InitKind::Generic => "-",
        }
    }
    /// Whether it runs a whole system, whose shutdown ends all other processes before PID 1.
    pub fn is_system(self) -> bool {
        !matches!(self, InitKind::Stub | InitKind::Generic)
    }
}

/// What is known of a PID 1: plain data, so that the table can be tested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Last component of /proc/PID/exe (without ` (deleted)`).
    pub program: String,
    /// /proc/PID/cmdline.
    pub arguments: Vec<String>,
    /// /proc/PID/status.
    pub facts: Facts,
    /// The tree has a FIFO at run/initctl or dev/initctl.
    pub initctl: bool,
    /// s6's SIGTERM script shuts down.
    pub s6_term_shuts_down: bool,
    /// The tree's libc is musl and no other, whose SIGRTMIN is one higher.
    pub musl: bool,
    /// It was started as an init, not as a plain command.
    pub booted: bool,
}

impl Evidence {
    /// Collects it for a living leader. What cannot be read is left empty: it then is a program like any other.
    pub fn of(leader: &Leader) -> Self {
        let mut evidence = Self::at_a_glance(leader);
        let Ok(root) = leader.root() else { return evidence };
        let answers = aside::ask(aside::PATIENCE, &mut || {
            let initctl = has_fifo(root, "run/initctl") || has_fifo(root, "dev/initctl");
            vec![u8::from(initctl), u8::from(s6_script(root)), u8::from(has_only_musl(root))]
        });
        if let Some([initctl, s6, musl]) = answers.as_deref() {
            (evidence.initctl, evidence.s6_term_shuts_down, evidence.musl) = (*initctl == 1, *s6 == 1, *musl == 1);
        }
        evidence
    }

    /// The same without a look at the machine's files: enough for its name, as a rule.
    pub fn at_a_glance(leader: &Leader) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let path = leader.program().map(|p| text(&p)).unwrap_or_default();
        let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
        Self {
            booted: false,
            program: path.rsplit('/').next().unwrap_or_default().to_owned(),
            arguments: leader.arguments().unwrap_or_default().iter().map(|a| text(a)).collect(),
            facts: leader.facts().unwrap_or_default(),
            ..Self::default()
        }
    }

    /// What to call it: the kind, or the program of a stub.
    pub fn label(&self) -> String {
        match self.kind() {
            InitKind::Stub if self.program != "hostel" && !self.program.is_empty() => self.program.clone(),
            // What `hostel init` calls itself as PID 1.
            InitKind::Generic if self.program == "hostel" && self.facts.name == b"init" => self.program.clone(),
            kind => kind.as_str().to_owned(),
        }
    }

    /// How much higher than glibc's the real-time signals are for this PID 1: 0, or 1 with musl.
    ///
    /// systemd waits for its SIGRTMIN+0 and following: the lowest one it waits for tells. Before it does, the tree's libc does.
    pub fn rt_shift(&self) -> i32 {
        const GLIBC: i32 = 34;
        match (self.facts.takes(GLIBC), (GLIBC + 1..GLIBC + 7).any(|s| self.facts.takes(s))) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => i32::from(self.musl),
        }
    }

    /// The kind of init.
    pub fn kind(&self) -> InitKind {
        let named = |name: &str| self.arguments.first().is_some_and(|a| a.rsplit('/').next() == Some(name));
        match self.program.as_str() {
            "systemd" => InitKind::Systemd,
            "systemd-shutdown" => InitKind::Ending,
            "openrc-init" => InitKind::OpenrcInit,
            "runit" | "runit-init" => InitKind::Runit,
            "s6-svscan" => InitKind::S6,
            "busybox" if named("init") || named("linuxrc") => InitKind::Busybox,
            "dinit" => InitKind::Dinit,
            "finit" => InitKind::Finit,
            "tini" | "tini-static" | "docker-init" | "dumb-init" | "catatonit" => InitKind::Stub,
            // The stub keeps hostel's program but tells its name.
            _ if self.facts.name == b"(sd-stubinit)" => InitKind::Stub,
            program if program.starts_with("guile") && self.arguments.iter().any(|a| a.contains("shepherd")) => InitKind::Shepherd,
            // System V init catches INT, USR1 and PWR and listens at its FIFO (which appears late in boot). Catches, not
            // blocks: a program of that name that waits for all signals is another one, and would never be sent a SIGTERM.
            "init" if self.initctl || self.facts.catches(30) => InitKind::Sysvinit,
            _ => InitKind::Generic,
        }
    }
}

/// A musl beside a glibc is there for a program or two.
fn has_only_musl(root: BorrowedFd<'_>) -> bool {
    let any = |paths: &[&str]| paths.iter().any(|p| inroot::exists(root, Path::new(p)).unwrap_or(false));
    any(&["lib/ld-musl-x86_64.so.1", "lib/ld-musl-aarch64.so.1"]) && !any(&["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"])
}

fn has_fifo(root: BorrowedFd<'_>, path: &str) -> bool {
    inroot::stat(root, Path::new(path)).is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::Fifo)
}

fn s6_script(root: BorrowedFd<'_>) -> bool {
    let script = inroot::read(root, Path::new("run/service/.s6-svscan/SIGTERM"));
    script.is_ok_and(|text| text.windows(8).any(|w| w == b"shutdown"))
}
