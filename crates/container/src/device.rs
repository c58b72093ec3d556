//! Devices of the host in a container that runs.

use std::os::fd::AsFd;
use std::path::Path;

use hostel_image::{inroot, open};
use rustix::fs::{AtFlags, FileType, Mode};
use rustix::io::Errno;

use crate::container::Container;
use crate::error::{Error, On, Result};

/// A device node of the host.
struct Node {
    kind: FileType,
    mode: u32,
    device: u64,
}

fn node(path: &str) -> Result<Node> {
    let stat = rustix::fs::stat(path).on("look at device", path)?;
    match FileType::from_raw_mode(stat.st_mode) {
        kind @ (FileType::CharacterDevice | FileType::BlockDevice) => Ok(Node { kind, mode: stat.st_mode & 0o7777, device: stat.st_rdev }),
        _ => Err(Error::new("use device", path, "it is no device", Errno::INVAL)),
    }
}

impl Node {
    fn rule(&self) -> String {
        let letter = if self.kind == FileType::BlockDevice { 'b' } else { 'c' };
        format!("{letter} {}:{} rwm", rustix::fs::major(self.device), rustix::fs::minor(self.device))
    }
}

impl Container {
    fn root(&self) -> Result<std::os::fd::OwnedFd> {
        Ok(open::directory(Path::new(&format!("/proc/{}/root", self.init_pid()?)))?)
    }

    /// Makes the device `source` of the host in it, as `target` or at the same path, and allows its use.
    ///
    /// ```no_run
    /// hostel_container::Container::new("web", None)?.add_device_node("/dev/fuse", None)?;
    /// # Ok::<(), hostel_container::Error>(())
    /// ```
    pub fn add_device_node(&self, source: &str, target: Option<&str>) -> Result<()> {
        const VERB: &str = "make device";
        let (node, target) = (node(source)?, target.unwrap_or(source));
        let root = self.root()?;
        // Its cgroup lets it, before there is something to try; without such a cgroup nothing forbids it.
        self.allow("devices.allow", &node)?;
        let path = Path::new(target);
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("/"));
        inroot::make_directories(root.as_fd(), above, Mode::from_raw_mode(0o755)).on(VERB, target)?;
        let (dir, name) = inroot::parent(root.as_fd(), path).on(VERB, target)?;
        match rustix::fs::unlinkat(&dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e).on(VERB, target),
        }
        rustix::fs::mknodat(&dir, name, node.kind, Mode::from_raw_mode(node.mode), node.device).on(VERB, target)?;
        // whatever the umask
        rustix::fs::chmodat(&dir, name, Mode::from_raw_mode(node.mode), AtFlags::empty()).on(VERB, target)
    }

    /// Takes it away again.
    pub fn remove_device_node(&self, source: &str, target: Option<&str>) -> Result<()> {
        let (node, target) = (node(source)?, target.unwrap_or(source));
        let root = self.root()?;
        self.allow("devices.deny", &node)?;
        inroot::unlink(root.as_fd(), Path::new(target)).on("remove device", target)
    }

    fn allow(&self, item: &str, node: &Node) -> Result<()> {
        match self.set_cgroup_item(item, &node.rule()) {
            // Version 2 has no such file: its rules are a program that its supervisor loads.
            Err(e) if e.is(Errno::NOENT) => self.add_device_rule(item == "devices.allow", node),
            other => other,
        }
    }

    /// One more rule of a container whose devices a program watches.
    fn add_device_rule(&self, allow: bool, node: &Node) -> Result<()> {
        let mut rule = [0u8; 40];
        rule[0] = if node.kind == FileType::BlockDevice { b'b' } else { b'c' };
        rule[4..8].copy_from_slice(&rustix::fs::major(node.device).to_le_bytes());
        rule[8..12].copy_from_slice(&rustix::fs::minor(node.device).to_le_bytes());
        rule[12..15].copy_from_slice(b"rwm");
        rule[16] = u8::from(allow);
        self.ask(hostel_lxc::wire::Command::AddBpfDeviceCgroup, 0, &rule).map(drop)
    }
}
