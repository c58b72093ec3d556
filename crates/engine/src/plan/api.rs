//! What every machine gets: /dev, /proc, /sys, /run, /tmp, cgroups, and what is covered of them.

use std::ffi::{CStr, CString};

use hostel_spec::{ConsoleMode, Payload, SyscallFilter, UserSelector};
use hostel_sys::mount::Attributes;

use super::Builder;
use super::steps::{HostStep, Node, PayloadStep, Prepared};

/// Options of a tmpfs as C strings.
pub(super) fn options(list: &[(&str, &str)]) -> Vec<(CString, CString)> {
    list.iter().filter_map(|(k, v)| Some((CString::new(*k).ok()?, CString::new(*v).ok()?))).collect()
}

const NOSUID_NODEV: Attributes = Attributes::NOSUID.or(Attributes::NODEV);
const API: Attributes = NOSUID_NODEV.or(Attributes::NOEXEC);

/// Covered in /proc for every machine (spec/nspawn.md 1.7).
/// systemd-nspawn leaves mtrr open, through which root changes how the host's memory is cached.
const PROC_MASKED: [&CStr; 6] = [c"kallsyms", c"kcore", c"keys", c"mtrr", c"sysrq-trigger", c"timer_list"];
/// Covered besides in machine mode (spec/security.md 4).
const PROC_MASKED_MACHINE: [&CStr; 7] = [c"latency_stats", c"slabinfo", c"vmallocinfo", c"pagetypeinfo", c"sched_debug", c"acpi", c"scsi"];
/// Read-only in /proc. `sys` last: /proc/sys/net may stay writable.
const PROC_READ_ONLY: [&CStr; 8] = [c"acpi", c"apm", c"asound", c"bus", c"fs", c"irq", c"scsi", c"sys"];
/// Covered in /sys in machine mode.
const SYS_MASKED_MACHINE: [&CStr; 5] = [c"firmware", c"kernel/debug", c"kernel/tracing", c"kernel/security", c"power"];

/// Covered in /sys of a machine with its own network, where systemd-nspawn shows only block, bus, class, dev, devices and kernel.
const SYS_MASKED_PRIVATE: [&CStr; 3] = [c"firmware", c"module", c"power"];

impl Builder<'_> {
    fn machine_mode(&self) -> bool {
        matches!(self.spec.security.syscalls, SyscallFilter::Machine(_))
    }

    fn label(&self) -> Option<CString> {
        self.spec.security.selinux_files.as_ref().and_then(|label| CString::new(label.as_str()).ok())
    }

    /// Options of a tmpfs, and its SELinux label.
    fn options(&self, list: &[(&str, &str)]) -> Vec<(CString, CString)> {
        let mut out = options(list);
        out.extend(self.label().map(|label| (c"context".into(), label)));
        out
    }

    fn prepare(&mut self, what: Prepared) -> super::Slot {
        let slot = self.slot();
        self.beside.push(HostStep::Prepare(slot, what));
        slot
    }

    pub(super) fn api_file_systems(&mut self) {
        // What needs nothing of the supervisor's comes first: both are at work at the same time.
        self.proc();
        self.payload.push(PayloadStep::Mqueue);
        self.payload.push(PayloadStep::Receive);
        let dev = self.dev();
        self.run();
        if !self.spec.root.keep_tmp {
            let tmp = self.prepare(Prepared::Tmpfs {
                options: self.options(&[("mode", "1777"), ("size", "10%"), ("nr_inodes", "400k")]),
                attributes: NOSUID_NODEV.or(Attributes::STRICTATIME),
                nodes: Vec::new(),
            });
            self.payload.push(PayloadStep::AttachTmp(tmp));
        }
        self.cover_proc();
        self.sys();
        self.payload.push(PayloadStep::AttachMqueue(dev));
        self.payload.push(PayloadStep::Cgroup);
    }

    fn dev(&mut self) -> super::Slot {
        let dev = self.prepare(Prepared::Tmpfs {
            options: self.options(&[("mode", "0755"), ("size", "4m"), ("nr_inodes", "64k")]),
            attributes: Attributes::NOSUID.or(Attributes::STRICTATIME),
            nodes: self.device_nodes(),
        });
        self.payload.push(PayloadStep::AttachApi(dev, c"dev"));
        let pts = self.prepare(Prepared::Devpts { label: self.label() });
        self.console_slots = Some((pts, dev));
        self.payload.push(PayloadStep::AttachIn(dev, pts, c"pts"));
        let shm = self.prepare(Prepared::Tmpfs {
            options: self.options(&[("mode", "1777"), ("size", "10%"), ("nr_inodes", "400k")]),
            attributes: NOSUID_NODEV.or(Attributes::STRICTATIME),
            nodes: Vec::new(),
        });
        self.payload.push(PayloadStep::AttachIn(dev, shm, c"shm"));
        dev
    }

    fn device_nodes(&self) -> Vec<Node> {
        let mut nodes = Vec::with_capacity(40);
        for (name, major, minor) in [(c"null", 1, 3), (c"zero", 1, 5), (c"full", 1, 7), (c"random", 1, 8), (c"urandom", 1, 9), (c"tty", 5, 0)] {
            nodes.push(Node::Char(name.into(), 0o666, major, minor));
        }
        if let Some(mode) = self.host_facts.tun {
            nodes.push(Node::Dir(c"net".into(), 0o755));
            nodes.push(Node::Char(c"net/tun".into(), mode, 10, 200));
        }
        if let Some(mode) = self.host_facts.fuse {
            nodes.push(Node::Char(c"fuse".into(), mode, 10, 229));
        }
        // sd-device finds a node by its number here.
        nodes.push(Node::Dir(c"char".into(), 0o755));
        let numbers = [
            (c"char/1:3", c"../null"),
            (c"char/1:5", c"../zero"),
            (c"char/1:7", c"../full"),
            (c"char/1:8", c"../random"),
            (c"char/1:9", c"../urandom"),
            (c"char/5:0", c"../tty"),
        ];
        let tun = self.host_facts.tun.map(|_| (c"char/10:200", c"../net/tun"));
        let fuse = self.host_facts.fuse.map(|_| (c"char/10:229", c"../fuse"));
        nodes.extend(numbers.into_iter().chain(tun).chain(fuse).map(|(name, target)| Node::Link(name.into(), target.into())));
        for (name, target) in [
            (c"fd", c"/proc/self/fd"),
            (c"stdin", c"/proc/self/fd/0"),
            (c"stdout", c"/proc/self/fd/1"),
            (c"stderr", c"/proc/self/fd/2"),
            (c"core", c"/proc/kcore"),
            (c"ptmx", c"pts/ptmx"),
        ] {
            nodes.push(Node::Link(name.into(), target.into()));
        }
        for (name, mode) in [(c"pts", 0o755), (c"shm", 0o1777), (c"mqueue", 0o755)] {
            nodes.push(Node::Dir(name.into(), mode));
        }
        nodes
    }

    /// /run, and in it /run/host: what the Container Interface promises.
    fn run(&mut self) {
        let mut nodes = vec![
            Node::Dir(c"host".into(), 0o755),
            Node::Dir(c"host/inaccessible".into(), 0o755),
            Node::File(c"host/inaccessible/reg".into(), 0, Vec::new()),
            Node::Dir(c"host/inaccessible/dir".into(), 0),
            Node::Fifo(c"host/inaccessible/fifo".into(), 0),
            Node::Socket(c"host/inaccessible/sock".into(), 0),
            Node::Char(c"host/inaccessible/chr".into(), 0, 0, 0),
            Node::Block(c"host/inaccessible/blk".into(), 0, 0, 0),
            Node::File(c"host/container-manager".into(), 0o444, self.container().as_bytes().to_vec()),
            Node::File(c"host/container-uuid".into(), 0o444, self.uuid.dashed().into_bytes()),
            Node::Fifo(c"host/proc-kmsg".into(), 0o600),
            // The kernel's is the host's.
            Node::BootId(c"host/proc-sys-kernel-random-boot-id".into()),
            Node::Dir(c"lock".into(), 0o1777),
        ];
        if let Some(content) = &self.host_facts.os_release_content {
            nodes.push(Node::File(c"host/os-release".into(), 0o444, content.clone()));
        }
        nodes.extend(self.user_records());
        let credentials = self.credentials();
        if credentials.is_some() {
            nodes.push(Node::Dir(c"host/credentials".into(), 0o500));
        }
        let run = self.prepare(Prepared::Tmpfs {
            options: self.options(&[("mode", "0755"), ("size", self.spec.root.run_size.as_deref().unwrap_or("20%")), ("nr_inodes", "800k")]),
            attributes: NOSUID_NODEV.or(Attributes::STRICTATIME),
            nodes,
        });
        self.beside.push(HostStep::OpenNotify(run));
        self.payload.push(PayloadStep::AttachApi(run, c"run"));
        self.payload.push(PayloadStep::SealRunHost(run));
        if let Some(slot) = credentials {
            self.payload.push(PayloadStep::AttachIn(run, slot, c"host/credentials"));
        }
    }

    fn credentials(&mut self) -> Option<super::Slot> {
        let files = self.host_facts.credentials.clone();
        if files.is_empty() {
            return None;
        }
        // A command that runs as another user and never becomes root could not read what is root's.
        let process = &self.spec.process;
        let other_user = !matches!(process.user, None | Some(UserSelector::Id(0)));
        let readable = other_user && process.no_new_privileges && self.spec.payload == Payload::Command;
        Some(self.prepare(Prepared::Credentials { files, readable }))
    }

    fn proc(&mut self) {
        self.payload.push(PayloadStep::Proc);
        if let (Some(levels), true) = (self.spec.namespaces.nested_user, self.user_namespace()) {
            self.payload.push(PayloadStep::LimitNesting(levels));
        }
        if !self.spec.security.api_writable {
            self.payload.push(PayloadStep::ProcReadOnly { paths: PROC_READ_ONLY.to_vec(), net_writable: self.own_network() });
        }
    }

    /// Covers come from /run/host.
    fn cover_proc(&mut self) {
        self.payload.push(PayloadStep::ProcOwn);
        if self.spec.security.api_writable {
            return;
        }
        let mut masked = PROC_MASKED.to_vec();
        if self.machine_mode() {
            masked.extend(PROC_MASKED_MACHINE);
        }
        self.payload.push(PayloadStep::ProcMask(masked));
    }

    fn sys(&mut self) {
        let attributes = if self.spec.security.api_writable { API } else { API.or(Attributes::RDONLY) };
        let host_sys = self.prepare(Prepared::Sysfs { attributes });
        // Of the network that the payload is in, not of the supervisor's.
        if self.spec.network.mode != hostel_spec::NetworkMode::Host {
            self.payload.push(PayloadStep::Sysfs { fallback: host_sys, attributes });
        } else {
            self.payload.push(PayloadStep::AttachApi(host_sys, c"sys"));
        }
        if !self.spec.security.api_writable {
            if self.machine_mode() {
                self.payload.push(PayloadStep::SysMask(SYS_MASKED_MACHINE.to_vec()));
            } else if self.own_network() {
                self.payload.push(PayloadStep::SysMask(SYS_MASKED_PRIVATE.to_vec()));
            }
        }
    }

    pub(super) fn open_console(&mut self, mode: ConsoleMode) {
        if let (true, Some((pts, dev))) = (mode != ConsoleMode::Pipe, self.console_slots) {
            self.beside.push(HostStep::OpenConsole { pts, dev });
        }
    }

    /// The last steps: read-only root, pivot, and what needs the machine to be complete.
    pub(super) fn finish(&mut self) {
        let volatile = self.spec.root.volatile;
        // Over a read-only tree an overlay is written all the same: that is what it is for.
        if volatile == hostel_spec::Volatile::State || (self.spec.root.read_only && volatile != hostel_spec::Volatile::Overlay) {
            self.payload.push(PayloadStep::RootReadOnly);
        }
        if self.spec.root.post_mount.is_some() {
            self.payload.push(PayloadStep::PostMount);
        }
        self.payload.push(PayloadStep::Pivot);
        if self.user_namespace() {
            self.payload.push(PayloadStep::LockMounts);
        }
        self.payload.push(PayloadStep::ShareMounts);
        if self.spec.namespaces.uts {
            self.payload.push(PayloadStep::Hostname(self.hostname.clone()));
        }
        if self.own_network() {
            self.payload.push(PayloadStep::Loopback);
        }
        self.await_network();
    }
}
