//! From settings to an ordered list of mounts. Pure: the tree is asked by a function.
//!
//! Of two that are about the same path the one that is first in [`What`] counts, and is read-only if either is (as systemd's).

use super::settings::{Access, Home, Sandbox, System};
use hostel_spec::Arrange as _;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// Nothing that can be opened.
    Inaccessible,
    /// What is somewhere else.
    Bind {
        /// Where.
        source: String,
        /// That it is missing is no failure.
        optional: bool,
        /// With what is mounted below.
        recursive: bool,
    },
    /// A few devices.
    Devices,
    /// Processes.
    Processes {
        /// `hidepid=`
        hide: Option<&'static str>,
        /// `subset=pid`
        only: bool,
    },
    /// As it is, read-only.
    ReadOnly,
    /// As it is, below what is read-only.
    Writable,
    /// An empty directory in memory, with options.
    Empty(String),
    /// Of API file systems, below what is read-only.
    Untouched,
}

impl What {
    /// Whether it says how what is there already may be used; it is there, or the step is none.
    fn is_access(&self) -> bool {
        matches!(self, What::Inaccessible | What::ReadOnly | What::Writable | What::Untouched)
    }
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Where: absolute, in the service's root.
    pub path: String,
    /// What.
    pub what: What,
    /// It cannot be written.
    pub read_only: bool,
    /// That there is no such path is no failure.
    pub optional: bool,
}

/// All of them, in order; and what may be executed where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts {
    /// Parents first.
    pub steps: Vec<Step>,
    /// Paths below which programs may be executed, or not; parents first.
    pub exec: Vec<(String, bool)>,
}

/// Why there is no such list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub String);

/// Directories of PrivateTmp=: for /tmp and /var/tmp.
pub type Tmp<'a> = Option<[&'a str; 2]>;

const TUNABLES: &[&str] = &[
    "/proc/acpi",
    "/proc/apm",
    "/proc/asound",
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/latency_stats",
    "/proc/mtrr",
    "/proc/scsi",
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/sys",
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
];

/// What the settings ask for, in no order.
fn asked(of: &Sandbox, tmp: Tmp<'_>, can_processes: bool) -> Vec<Step> {
    let mut out = Vec::new();
    let mut add = |path: &str, what: What, read_only: bool, optional: bool| out.push(Step { path: path.to_owned(), what, read_only, optional });
    let homes = ["/home", "/root", "/run/user"];
    let read_only: &[&str] = match of.system {
        System::No => &[],
        System::Yes => &["/usr", "/boot", "/efi"],
        System::Full => &["/usr", "/boot", "/efi", "/etc"],
        System::Strict => &["/"],
    };
    read_only.iter().for_each(|path| add(path, What::ReadOnly, true, *path != "/" && *path != "/usr"));
    if of.system == System::Strict {
        // homes are ProtectHome='s
        ["/proc", "/sys", "/dev"].iter().chain(&homes).for_each(|path| add(path, What::Untouched, false, true));
        of.own.iter().for_each(|path| add(path, What::Writable, false, true));
    }
    for top in &of.private {
        add(top, What::Empty("mode=0755".into()), true, false);
        for path in of.own.iter().filter(|path| is_within(path, top)) {
            add(path, What::Bind { source: path.clone(), optional: false, recursive: true }, false, false);
        }
    }
    for path in homes {
        match of.home {
            Home::No => {}
            Home::Hidden => add(path, What::Inaccessible, true, true),
            Home::ReadOnly => add(path, What::ReadOnly, true, true),
            Home::Empty => add(path, What::Empty("mode=0755".into()), true, true),
        }
    }
    if of.tunables {
        TUNABLES.iter().for_each(|path| add(path, What::ReadOnly, true, true));
        ["/sys/fs/bpf", "/sys/fs/cgroup", "/sys/fs/selinux"].iter().for_each(|path| add(path, What::Untouched, false, true));
        ["/proc/kallsyms", "/proc/kcore"].iter().for_each(|path| add(path, What::Inaccessible, true, true));
    }
    if of.modules {
        ["/usr/lib/modules", "/lib/modules"].iter().for_each(|path| add(path, What::Inaccessible, true, true));
    }
    if of.logs {
        ["/dev/kmsg", "/proc/kmsg"].iter().for_each(|path| add(path, What::Inaccessible, true, true));
    }
    if of.groups {
        add("/sys/fs/cgroup", What::ReadOnly, true, true);
    }
    if of.devices {
        add("/dev", What::Devices, true, false);
    }
    if can_processes && (of.hide.is_some() || of.only_processes) {
        add("/proc", What::Processes { hide: of.hide, only: of.only_processes }, false, false);
    }
    if of.api && of.root.is_some() {
        add("/proc", What::Processes { hide: None, only: false }, false, false);
        for path in ["/sys", "/dev"] {
            add(path, What::Bind { source: path.into(), optional: true, recursive: true }, false, false);
        }
        add("/run", What::Empty("mode=0755".into()), false, false);
    }
    for (path, source) in ["/tmp", "/var/tmp"].iter().zip(tmp.into_iter().flatten()) {
        add(path, What::Bind { source: source.to_owned(), optional: false, recursive: false }, false, true);
    }
    for (access, place) in &of.access {
        match access {
            Access::None => add(&place.path, What::Inaccessible, true, place.optional),
            Access::Read => add(&place.path, What::ReadOnly, true, place.optional),
            Access::Write => add(&place.path, What::Writable, false, place.optional),
            Access::NoExec | Access::Exec => {}
        }
    }
    for bind in &of.binds {
        let what = What::Bind { source: bind.source.path.clone(), optional: bind.source.optional, recursive: bind.recursive };
        add(&bind.target, what, bind.read_only, false);
    }
    for (path, options) in &of.empty {
        let kept: Vec<&str> = options.split(',').filter(|word| !word.is_empty() && *word != "ro" && *word != "rw").collect();
        let mode = if kept.iter().any(|word| word.starts_with("mode=")) { "" } else { "mode=0755," };
        add(path, What::Empty(format!("{mode}{}", kept.join(","))), options.split(',').any(|word| word == "ro"), false);
    }
    out
}

/// Whether `path` is `above` or below it.
pub fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || above == "/")
}

fn parents_first(a: &str, b: &str) -> std::cmp::Ordering {
    a.split('/').filter(|part| !part.is_empty()).cmp(b.split('/').filter(|part| !part.is_empty()))
}

/// The list. `resolve` gives a path without links, or nothing if it is not there.
pub fn mounts(of: &Sandbox, tmp: Tmp<'_>, can_processes: bool, resolve: &dyn Fn(&str) -> Option<String>) -> Result<Mounts, Missing> {
    let mut steps = asked(of, tmp, can_processes);
    let fresh: Vec<String> = steps.iter().filter(|step| !step.what.is_access()).map(|step| step.path.clone()).collect();
    // what is below another mount of the list is found when that is there
    let is_covered = |path: &str| fresh.iter().any(|above| above != path && is_within(path, above));
    let find = |path: &str, optional: bool| match resolve(path) {
        _ if is_covered(path) => Ok(Some(path.to_owned())),
        None if !optional => Err(Missing(path.to_owned())),
        found => Ok(found),
    };
    let mut kept: Vec<Step> = Vec::with_capacity(steps.len());
    for mut step in steps.drain(..) {
        if step.what.is_access() || step.optional {
            let Some(path) = find(&step.path, step.optional)? else { continue };
            step.path = path;
        } else if let Some(path) = resolve(&step.path) {
            step.path = path;
        }
        kept.push(step);
    }
    kept.arrange_by(|a, b| parents_first(&a.path, &b.path).then_with(|| a.what.cmp(&b.what)));
    let mut exec = Vec::new();
    for (access, place) in &of.access {
        if let Some(path) = if matches!(access, Access::Exec | Access::NoExec) { find(&place.path, place.optional)? } else { None } {
            exec.push((path, *access == Access::Exec));
        }
    }
    exec.arrange_by(|a, b| parents_first(&a.0, &b.0).then(b.1.cmp(&a.1).reverse()));
    Ok(Mounts { steps: thin(kept), exec })
}

/// Leaves out what another says, too: the same path again, what is below something inaccessible, and what is so already.
fn thin(steps: Vec<Step>) -> Vec<Step> {
    let mut single: Vec<Step> = Vec::with_capacity(steps.len());
    for step in steps {
        match single.last_mut().filter(|last| last.path == step.path) {
            Some(same) => {
                same.read_only |= step.read_only;
                same.optional &= step.optional;
            }
            None => single.push(step),
        }
    }
    let mut out: Vec<Step> = Vec::with_capacity(single.len());
    for step in single {
        let above = out.iter().rev().find(|above| is_within(&step.path, &above.path));
        let is_said = match above {
            Some(Step { what: What::Inaccessible, .. }) => true,
            Some(Step { what: What::ReadOnly, .. }) => step.what == What::ReadOnly,
            Some(Step { what: What::Writable | What::Untouched, .. }) | None => matches!(step.what, What::Writable | What::Untouched),
            Some(above) => !above.read_only && matches!(step.what, What::Writable | What::Untouched),
        };
        if !is_said {
            out.push(step);
        }
    }
    out
}
