//! Which devices a machine, or a service, may open and make: rules compiled to a device program, or to lines of the v1 controller.
//!
//! The program of the default policy is a constant. Loading even that costs 0.3 ms (the kernel's JIT), attaching it 2 µs,
//! so the loaded program is kept attached to an empty marker cgroup beside the machines and taken from there next time.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hostel_spec::{DeviceAccess, DevicePolicy, DeviceRule, DeviceSelector};
use hostel_sys::bpf::device_context::{ACCESS_TYPE, BLOCK, CHAR, MAJOR, MINOR, MKNOD, READ, WRITE};
use hostel_sys::bpf::{Insn, Reg};
use rustix::fs::FileType;
use rustix::io::Errno;

#[cfg(test)]
mod tests;

/// One thing that is allowed: a kind, perhaps only one major, perhaps only one minor, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allow {
    block: bool,
    major: Option<u32>,
    minor: Option<u32>,
    /// MKNOD, READ, WRITE.
    access: i32,
}

const ALL: i32 = MKNOD | READ | WRITE;

const fn char(major: u32, minor: Option<u32>) -> Allow {
    Allow { block: false, major: Some(major), minor, access: ALL }
}

/// What `closed` allows (Documentation/admin-guide/devices.txt); absent tun and fuse cannot be opened anyway.
const CLOSED: [Allow; 10] = [
    char(1, Some(3)),    // null
    char(1, Some(5)),    // zero
    char(1, Some(7)),    // full
    char(1, Some(8)),    // random
    char(1, Some(9)),    // urandom
    char(5, Some(0)),    // tty
    char(5, Some(2)),    // ptmx
    char(136, None),     // pts
    char(10, Some(200)), // net/tun
    char(10, Some(229)), // fuse
];

/// Those of [`CLOSED`] that a service of a machine may use, too: no tunnels, no file systems of users.
const CLOSED_FOR_SERVICES: usize = 8;

/// What a machine may do with devices, ready for the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Devices {
    /// Everything: no program.
    Everything,
    /// What `closed` says: the constant program.
    Closed,
    /// A list of its own.
    List(Vec<Allow>),
}

/// The resolved policy, and the rules that name nothing on this host.
#[derive(Debug)]
pub struct Resolved {
    /// The policy.
    pub devices: Devices,
    /// Paths and groups of rules without effect: no such node, no such driver.
    pub absent: Vec<String>,
}

/// A path of a rule is not a device, or cannot be looked at.
#[derive(Debug)]
pub struct NoDevice {
    /// Which.
    pub path: PathBuf,
    /// What the kernel says; none: it is something else.
    pub cause: Option<Errno>,
}

/// Looks the rules up on this host (stat(2), /proc/devices).
pub fn resolve(policy: DevicePolicy, rules: &[DeviceRule]) -> Result<Resolved, NoDevice> {
    let mut found = Found::default();
    rules.iter().try_for_each(|rule| found.add(rule))?;
    let Found { list, absent, .. } = found;
    let devices = match policy {
        DevicePolicy::Strict => Devices::List(list),
        DevicePolicy::Auto if rules.is_empty() => Devices::Everything,
        DevicePolicy::Closed | DevicePolicy::Auto if list.is_empty() => Devices::Closed,
        DevicePolicy::Closed | DevicePolicy::Auto => Devices::List([&CLOSED[..], &list].concat()),
    };
    Ok(Resolved { devices, absent })
}

/// The same for a service: what is no device is passed over, too. `None`: everything is allowed.
pub fn of_service(policy: DevicePolicy, rules: &[DeviceRule]) -> Option<Vec<Allow>> {
    let mut found = Found::default();
    rules.iter().for_each(|rule| drop(found.add(rule)));
    match policy {
        DevicePolicy::Strict => Some(found.list),
        DevicePolicy::Auto if rules.is_empty() => None,
        DevicePolicy::Closed | DevicePolicy::Auto => Some([&CLOSED[..CLOSED_FOR_SERVICES], &found.list].concat()),
    }
}

/// What rules name.
#[derive(Default)]
struct Found {
    list: Vec<Allow>,
    absent: Vec<String>,
    drivers: Option<String>,
}

impl Found {
    fn add(&mut self, rule: &DeviceRule) -> Result<(), NoDevice> {
        let before = self.list.len();
        let access = access_bits(rule.access);
        match &rule.devices {
            DeviceSelector::Path(path) => self.list.extend(node(path, access)?),
            DeviceSelector::Number { block, major, minor } => self.list.push(Allow { block: *block, major: *major, minor: *minor, access }),
            DeviceSelector::CharGroup(pattern) | DeviceSelector::BlockGroup(pattern) => {
                let block = matches!(rule.devices, DeviceSelector::BlockGroup(_));
                let drivers = self.drivers.get_or_insert_with(|| std::fs::read_to_string("/proc/devices").unwrap_or_default());
                self.list.extend(group(drivers, block, pattern, access));
            }
        }
        if self.list.len() == before {
            self.absent.push(describe(rule));
        }
        Ok(())
    }
}

fn describe(rule: &DeviceRule) -> String {
    match &rule.devices {
        DeviceSelector::Path(path) => path.display().to_string(),
        DeviceSelector::CharGroup(name) => format!("char-{}", name.trim_start_matches("char-")),
        DeviceSelector::Number { block, major, minor } => format!("{} {major:?}:{minor:?}", if *block { 'b' } else { 'c' }),
        DeviceSelector::BlockGroup(name) => format!("block-{}", name.trim_start_matches("block-")),
    }
}

fn access_bits(access: DeviceAccess) -> i32 {
    let bit = |yes, bit| if yes { bit } else { 0 };
    bit(access.read, READ) | bit(access.write, WRITE) | bit(access.mknod, MKNOD)
}

/// A node's numbers; `None` if there is no such node. `/dev/char/5:1` and `/dev/block/8:0` need not exist.
fn node(path: &Path, access: i32) -> Result<Option<Allow>, NoDevice> {
    for (dir, block) in [("/dev/char", false), ("/dev/block", true)] {
        let numbers = path.strip_prefix(dir).ok().and_then(Path::to_str).and_then(|text| text.split_once(':'));
        if let Some((Ok(major), Ok(minor))) = numbers.map(|(major, minor)| (major.parse(), minor.parse())) {
            return Ok(Some(Allow { block, major: Some(major), minor: Some(minor), access }));
        }
    }
    let failed = |cause| NoDevice { path: path.to_owned(), cause };
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(err) => {
            return match Errno::from_io_error(&err).unwrap_or(Errno::IO) {
                Errno::NOENT => Ok(None),
                errno => Err(failed(Some(errno))),
            };
        }
    };
    let block = match FileType::from_raw_mode(meta.mode()) {
        FileType::BlockDevice => true,
        FileType::CharacterDevice => false,
        _ => return Err(failed(None)),
    };
    let device = meta.rdev();
    Ok(Some(Allow { block, major: Some(rustix::fs::major(device)), minor: Some(rustix::fs::minor(device)), access }))
}

/// The majors of the drivers whose name in the text of /proc/devices fits the pattern (`*` and `?` as in glob(7)).
fn group(drivers: &str, block: bool, pattern: &str, access: i32) -> Vec<Allow> {
    let pattern = pattern.strip_prefix(if block { "block-" } else { "char-" }).unwrap_or(pattern);
    if pattern == "*" {
        return vec![Allow { block, major: None, minor: None, access }];
    }
    let mut in_block = false;
    let mut list: Vec<Allow> = Vec::new();
    for line in drivers.lines() {
        match line.trim() {
            "Character devices:" => in_block = false,
            "Block devices:" => in_block = true,
            line => {
                let Some((major, name)) = line.split_once(' ') else { continue };
                let Ok(major) = major.parse() else { continue };
                let allow = Allow { block, major: Some(major), minor: None, access };
                if in_block == block && fits(pattern.as_bytes(), name.as_bytes()) && !list.contains(&allow) {
                    list.push(allow);
                }
            }
        }
    }
    list
}

/// Does a name fit a pattern of `*` and `?`? Linear in pattern × name.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

/// Unused room at the end of a constant program.
const NOTHING: Insn = Insn::exit();
const HEAD: usize = 6;
const PER_RULE: usize = 6;
const TAIL: usize = 2;
const CLOSED_LEN: usize = HEAD + CLOSED.len() * 5 - 1 + TAIL;

/// The `closed` policy, compiled when hostel was.
static CLOSED_PROGRAM: [Insn; CLOSED_LEN] = {
    let mut out = [NOTHING; CLOSED_LEN];
    let len = compile(&CLOSED, &mut out);
    assert!(len == CLOSED_LEN);
    out
};

/// Names the marker that keeps the `closed` program: another program must have another name.
pub const CLOSED_MARKER: &str = ".devices-1";

impl Devices {
    /// The program, or `None` if everything is allowed.
    pub fn program(&self) -> Option<std::borrow::Cow<'static, [Insn]>> {
        match self {
            Devices::Everything => None,
            Devices::Closed => Some((&CLOSED_PROGRAM[..]).into()),
            Devices::List(list) => Some(program(list).into()),
        }
    }

    /// The name of the cgroup, beside the machines', that keeps this program loaded.
    pub fn marker(&self) -> Option<&'static str> {
        matches!(self, Devices::Closed).then_some(CLOSED_MARKER)
    }

    /// What to write to the v1 controller's devices.allow after `a` to devices.deny.
    pub fn v1_lines(&self) -> Vec<String> {
        let list = match self {
            Devices::Everything => return vec!["a".into()],
            Devices::Closed => &CLOSED[..],
            Devices::List(list) => list,
        };
        let number = |n: Option<u32>| n.map_or("*".into(), |n| n.to_string());
        let letters =
            |access: i32| [(READ, 'r'), (WRITE, 'w'), (MKNOD, 'm')].iter().filter(|(bit, _)| access & bit != 0).map(|(_, c)| c).collect::<String>();
        let line = |a: &Allow| format!("{} {}:{} {}", if a.block { 'b' } else { 'c' }, number(a.major), number(a.minor), letters(a.access));
        list.iter().filter(|a| a.access != 0).map(line).collect()
    }
}

/// The program for a list.
pub fn program(list: &[Allow]) -> Vec<Insn> {
    let mut out = vec![NOTHING; HEAD + list.len() * PER_RULE + TAIL];
    let len = compile(list, &mut out);
    out.truncate(len);
    out
}

/// Writes the program for a list into `out`, returns its length: rule after rule, the first that fits allows.
///
/// r2 = access, r3 = major, r4 = minor, r5 = kind. Only instructions of the first eBPF set (Linux 4.15 takes no JMP32).
const fn compile(list: &[Allow], out: &mut [Insn]) -> usize {
    out[0] = Insn::load32(Reg::R2, Reg::R1, ACCESS_TYPE);
    out[1] = Insn::load32(Reg::R3, Reg::R1, MAJOR);
    out[2] = Insn::load32(Reg::R4, Reg::R1, MINOR);
    out[3] = Insn::copy(Reg::R5, Reg::R2);
    out[4] = Insn::and(Reg::R5, 0xffff);
    out[5] = Insn::shift_right(Reg::R2, 16);
    let mut at = HEAD;
    let mut i = 0;
    while i < list.len() {
        let rule = list[i];
        i += 1;
        let tests = 1 + rule.major.is_some() as usize + rule.minor.is_some() as usize + (rule.access & ALL != ALL) as usize;
        // Where the next rule begins, seen from the instruction after `at`.
        let end = at + tests + 2;
        out[at] = Insn::jump_if_not_equal(Reg::R5, if rule.block { BLOCK } else { CHAR }, (end - at - 1) as i16);
        at += 1;
        if let Some(major) = rule.major {
            out[at] = Insn::jump_if_not_equal(Reg::R3, major as i32, (end - at - 1) as i16);
            at += 1;
        }
        if let Some(minor) = rule.minor {
            out[at] = Insn::jump_if_not_equal(Reg::R4, minor as i32, (end - at - 1) as i16);
            at += 1;
        }
        if rule.access & ALL != ALL {
            out[at] = Insn::jump_if_any_bit(Reg::R2, ALL & !rule.access, (end - at - 1) as i16);
            at += 1;
        }
        out[at] = Insn::set(Reg::R0, 1);
        out[at + 1] = Insn::exit();
        at += 2;
    }
    out[at] = Insn::set(Reg::R0, 0);
    out[at + 1] = Insn::exit();
    at + 2
}
