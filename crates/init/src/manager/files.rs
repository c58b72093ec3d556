//! OpenFile=: files and sockets that a service gets open.

use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFile {
    path: String,
    name: String,
    read_only: bool,
    append: bool,
    truncate: bool,
    /// That it cannot be opened is no failure.
    graceful: bool,
}

impl OpenFile {
    /// `PATH[:NAME[:OPTIONS]]`
    pub fn parse(text: &str) -> Option<OpenFile> {
        let mut parts = text.split(':');
        let path = parts.next().filter(|path| path.starts_with('/'))?;
        let base = path.rsplit('/').next().unwrap_or_default();
        let name = parts.next().filter(|name| !name.is_empty()).unwrap_or(base);
        let mut found = OpenFile { path: path.to_owned(), name: name.to_owned(), read_only: false, append: false, truncate: false, graceful: false };
        for option in parts.next().unwrap_or_default().split(',').filter(|word| !word.is_empty()) {
            match option {
                "read-only" => found.read_only = true,
                "append" => found.append = true,
                "truncate" => found.truncate = true,
                "graceful" => found.graceful = true,
                _ => return None,
            }
        }
        let is_sound = !(found.read_only && (found.append || found.truncate)) && parts.next().is_none();
        (is_sound && !name.contains(|c: char| c.is_control())).then_some(found)
    }
}

/// A connection, now or not at all: this is the manager, which waits for nobody (a full backlog is an error).
fn connected(path: &str) -> std::io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket)
}

/// Opens them; those that may be missing and are do not come.
pub(super) fn open(list: &[OpenFile]) -> Result<Vec<(String, OwnedFd)>, String> {
    let mut out = Vec::new();
    for file in list {
        let opened = match std::fs::metadata(&file.path) {
            Ok(m) if m.file_type().is_socket() => connected(&file.path),
            _ => {
                let mut how = std::fs::OpenOptions::new();
                how.read(true).write(!file.read_only && !file.append).append(file.append).truncate(file.truncate && !file.append);
                how.custom_flags((rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK).bits() as i32);
                how.open(&file.path).and_then(|opened| {
                    if file.truncate && file.append {
                        opened.set_len(0)?;
                    }
                    rustix::io::ioctl_fionbio(&opened, false)?;
                    Ok(opened.into())
                })
            }
        };
        match opened {
            Ok(fd) => out.push((file.name.clone(), fd)),
            Err(_) if file.graceful => {}
            Err(e) => return Err(format!("open {}: {e}", file.path)),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let one = OpenFile::parse("/a/b.txt").unwrap();
        assert_eq!((one.name.as_str(), one.read_only), ("b.txt", false));
        let two = OpenFile::parse("/a/b:x:append,graceful").unwrap();
        assert_eq!((two.name.as_str(), two.append, two.graceful), ("x", true, true));
        for bad in ["a", "/a:b:what", "/a:b:read-only,truncate", "/a:b:append:c", ""] {
            assert_eq!(OpenFile::parse(bad), None, "{bad}");
        }
        let missing = [OpenFile::parse("/no/such::graceful").unwrap()];
        assert!(open(&missing).unwrap().is_empty());
        assert!(open(&[OpenFile::parse("/no/such").unwrap()]).is_err());
    }

    #[test]
    fn a_socket_that_nobody_accepts_from_is_not_waited_for() {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
        let tree = crate::testing::Tree::new("open-file");
        let path = tree.path.join("s");
        let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&listener, 0).unwrap();
        let list = [OpenFile::parse(path.to_str().unwrap()).unwrap()];
        let (_, first) = open(&list).unwrap().remove(0);
        assert!(!rustix::fs::fcntl_getfl(&first).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
        assert!(open(&list).unwrap_err().contains("open "));
    }
}
