//! What lives as long as a unit runs, for all its processes: its own /tmp and network, and credentials.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};

use hostel_process::r#become::Failure;
use hostel_process::userdb::User;
use hostel_sys::{clone, netlink};
use rustix::fs::{Mode, OFlags};

use super::discard::discard;
use super::sandbox::{Sandbox, place};

/// Below it every unit has a directory with its credentials.
const CREDENTIALS: &str = "/run/credentials";
/// Largest credential that is read.
const CREDENTIAL_MAX: u64 = 1 << 20;

/// Shared by units that join each other (JoinsNamespaceOf=); gone with the last.
#[derive(Debug, Default)]
pub struct Runtime {
    /// Directories that are /tmp and /var/tmp inside.
    tmp: Option<[String; 2]>,
    network: Option<OwnedFd>,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        for directory in self.tmp.iter().flatten() {
            let above = directory.trim_end_matches("/tmp");
            if std::fs::remove_dir(directory).and_then(|()| std::fs::remove_dir(above)).is_err() {
                let _ = discard(above);
            }
        }
    }
}

impl Runtime {
    /// Whether a service has any.
    pub fn is_needed(of: &Sandbox) -> bool {
        of.tmp || of.network
    }

    /// Makes it.
    pub fn new(of: &Sandbox, unit: &str, invocation: &str) -> Result<Runtime, String> {
        let mut made = Runtime::default();
        if of.tmp && place::here().mounts {
            let name = format!("systemd-private-{}-{unit}", invocation.get(..12).unwrap_or(invocation));
            let directories = ["/tmp", "/var/tmp"].map(|top| format!("{top}/{name}/tmp"));
            made.tmp = Some(directories.clone());
            for directory in &directories {
                private(directory).map_err(|e| format!("make {directory}: {e}"))?;
            }
        }
        if of.network && of.network_path.is_none() && place::here().network {
            made.network = Some(network().map_err(|e| format!("make a network: {e}"))?);
        }
        Ok(made)
    }

    /// One that was made before.
    pub fn again(tmp: [&str; 2], network: Option<OwnedFd>) -> Runtime {
        Runtime { tmp: Some(tmp.map(str::to_owned)).filter(|[tmp, _]| !tmp.is_empty()), network }
    }

    /// Directories for /tmp and /var/tmp.
    pub fn tmp(&self) -> Option<[&str; 2]> {
        self.tmp.as_ref().map(|[tmp, var]| [tmp.as_str(), var.as_str()])
    }

    /// The network namespace.
    pub fn network(&self) -> Option<BorrowedFd<'_>> {
        self.network.as_ref().map(AsFd::as_fd)
    }
}

/// `…/NAME/tmp`, whose upper directory is root's alone.
fn private(directory: &str) -> io::Result<()> {
    let above = directory.trim_end_matches("/tmp");
    match std::fs::DirBuilder::new().mode(0o700).create(above) {
        // of this very start, made again after the manager was executed anew; nobody else can have it, or the mode is wrong
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && is_ours(above) => {}
        other => other?,
    }
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o1777))
}

fn is_ours(path: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::symlink_metadata(path)
        .is_ok_and(|m| m.is_dir() && m.uid() == rustix::process::geteuid().as_raw() && m.permissions().mode() & 0o777 == 0o700)
}

/// A new one with nothing but a loopback interface; made by a process that is gone when it is held.
fn network() -> io::Result<OwnedFd> {
    let (ready, go) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match clone::clone3(&clone::CloneArgs { flags: clone::NEWNET, ..clone::CloneArgs::default() })? {
        clone::Fork::Child => {
            drop(go);
            let up = netlink::loopback_up();
            let _ = rustix::io::read(&ready, &mut [0u8; 1]);
            clone::exit_now(i32::from(up.is_err()))
        }
        clone::Fork::Parent { pid, pidfd } => {
            let held = rustix::fs::open(format!("/proc/{pid}/ns/net"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            drop((ready, go));
            let _ = clone::wait_pidfd(pidfd.as_fd(), clone::WAIT_EXITED)?;
            Ok(held?)
        }
    }
}

/// Where a unit's credentials are, if it has any.
pub fn credentials_of(of: &Sandbox, unit: &str) -> Option<String> {
    (!of.given.is_empty() || !of.loaded.is_empty() || !of.imported.is_empty()).then(|| format!("{CREDENTIALS}/{unit}"))
}

/// Takes them away.
pub fn forget_credentials(unit: &str) {
    let _ = std::fs::remove_dir_all(format!("{CREDENTIALS}/{unit}"));
}

/// In the child: writes them for the user. One that was given by the manager's own caller may be missing.
pub fn write_credentials(of: &Sandbox, directory: &str, user: &User) -> Result<(), Failure> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |e: io::Error| Failure::new("write credential", what, e)
    };
    std::fs::create_dir_all(CREDENTIALS).map_err(failed(CREDENTIALS))?;
    match std::fs::DirBuilder::new().mode(0o500).create(directory) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.map_err(failed(directory))?,
    }
    let write = |name: &str, content: &[u8]| {
        let path = format!("{directory}/{name}");
        let _ = std::fs::remove_file(&path);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
        io::Write::write_all(&mut file, content)?;
        if rustix::process::geteuid().is_root() { chown(&path, Some(user.uid), Some(user.gid)) } else { Ok(()) }
    };
    for (name, content) in &of.given {
        write(name, content).map_err(failed(name))?;
    }
    let inherited = std::env::var("CREDENTIALS_DIRECTORY").unwrap_or_else(|_| format!("{CREDENTIALS}/@system"));
    let stores = [inherited.as_str(), "/etc/credstore", "/run/credstore", "/usr/lib/credstore"];
    for (name, from) in &of.loaded {
        if let Some(store) = stores.iter().find(|store| !from.starts_with('/') && std::path::Path::new(&format!("{store}/{from}")).exists()) {
            let path = format!("{store}/{from}");
            read(&path).and_then(|content| write(name, &content)).map_err(failed(&path))?;
        } else if from.starts_with('/') && std::fs::metadata(from).is_ok_and(|m| m.is_dir()) {
            // each file by its name after the given one
            for entry in std::fs::read_dir(from).map_err(failed(from))?.flatten().filter(|entry| entry.path().is_file()) {
                let Ok(file) = entry.file_name().into_string() else { continue };
                read(&format!("{from}/{file}")).and_then(|content| write(&format!("{name}_{file}"), &content)).map_err(failed(from))?;
            }
        } else if from.starts_with('/') {
            read(from).and_then(|content| write(name, &content)).map_err(failed(from))?;
        }
    }
    for pattern in &of.imported {
        // NAME*, and what takes the pattern's place
        let (pattern, other) = pattern.split_once(':').map_or((pattern.as_str(), None), |(pattern, other)| (pattern, Some(other)));
        for store in stores {
            for entry in std::fs::read_dir(store).into_iter().flatten().flatten() {
                let Ok(file) = entry.file_name().into_string() else { continue };
                let rest = match pattern.strip_suffix('*') {
                    Some(begin) => file.strip_prefix(begin),
                    None => (file == pattern).then_some(""),
                };
                let Some(rest) = rest else { continue };
                let name = other.map_or_else(|| file.clone(), |other| format!("{other}{rest}"));
                if !std::path::Path::new(&format!("{directory}/{name}")).exists() {
                    read(&format!("{store}/{file}")).and_then(|content| write(&name, &content)).map_err(failed(&file))?;
                }
            }
        }
    }
    if rustix::process::geteuid().is_root() {
        chown(directory, Some(user.uid), Some(user.gid)).map_err(failed(directory))?;
    }
    Ok(())
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type()) {
        let socket = std::os::unix::net::UnixStream::connect(path)?;
        let mut content = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(socket, CREDENTIAL_MAX), &mut content)?;
        return Ok(content);
    }
    if !metadata.is_file() || metadata.len() > CREDENTIAL_MAX {
        return Err(io::Error::other("it is no file of at most 1 MiB"));
    }
    std::fs::read(path)
}
