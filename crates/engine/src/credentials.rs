//! Reads the credentials a machine gets: before anything changes, so that one that is missing stops the start.

use std::ffi::CString;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_spec::{Arrange as _, Credential, CredentialSource};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result, io_text};

/// How long a socket may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// Most directories below each other.
const DEPTH_MAX: usize = 16;

/// A credential with its content.
#[derive(Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its name, that of its file.
    pub id: CString,
    /// What is in it, at most [`Credential::MAX`] bytes.
    pub content: Vec<u8>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Loaded({:?}, {} bytes)", self.id, self.content.len())
    }
}

/// Reads all of them; two that come to have one name are refused.
pub fn load(wanted: &[Credential]) -> Result<Vec<Loaded>> {
    let mut out: Vec<Loaded> = Vec::with_capacity(wanted.len());
    for credential in wanted {
        let id = credential.id.as_str();
        match &credential.source {
            CredentialSource::Bytes(bytes) => add(&mut out, id, bytes.clone())?,
            CredentialSource::Path(path) => from_path(&mut out, id, path)?,
            CredentialSource::Stored { name, directories } => from_path(&mut out, id, &find(id, name, directories)?)?,
        }
    }
    Ok(out)
}

fn add(out: &mut Vec<Loaded>, id: &str, content: Vec<u8>) -> Result<()> {
    let refuse = |why: &str| Err(Error::new("pass", format!("credential {id:?}"), why));
    if !Credential::is_name(id) {
        return refuse("that cannot be a credential's name");
    }
    if out.iter().any(|other| other.id.as_bytes() == id.as_bytes()) {
        return refuse("there are two of this name");
    }
    if out.iter().map(|other| other.content.len()).sum::<usize>() + content.len() > Credential::TOTAL_MAX {
        return refuse("all credentials together are larger than 16 MiB");
    }
    let id = CString::new(id).map_err(|_| Error::new("pass", "credential", "its name has a NUL byte"))?;
    out.push(Loaded { id, content });
    Ok(())
}

fn find(id: &str, name: &str, directories: &[PathBuf]) -> Result<PathBuf> {
    for directory in directories {
        let path = directory.join(name);
        match rustix::fs::stat(&path) {
            Ok(_) => return Ok(path),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(e) => return Err(Error::new("read", format!("credential {id:?} from {}", path.display()), io_text(&e.into()))),
        }
    }
    let searched = directories.iter().map(|d| d.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(Error::new("find", format!("credential {name:?}"), format!("none of {searched} has it")))
}

fn from_path(out: &mut Vec<Loaded>, id: &str, path: &Path) -> Result<()> {
    let object = || format!("credential {id:?} from {}", path.display());
    let kind = rustix::fs::stat(path).map(|s| FileType::from_raw_mode(s.st_mode)).context("read", object())?;
    let content = match kind {
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory = rustix::fs::open(path, flags, Mode::empty()).context("read", object())?;
            return from_directory(out, id, path, directory, 0);
        }
        FileType::Socket => connect(path).and_then(read_bounded),
        _ => rustix::fs::open(path, OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).map_err(io::Error::from).and_then(read_bounded),
    };
    add(out, id, content.context("read", object())?)
}

/// Every regular file below, as `ID_DIRECTORY_FILE`, in the order of names; links are passed over.
fn from_directory(out: &mut Vec<Loaded>, prefix: &str, path: &Path, directory: OwnedFd, depth: usize) -> Result<()> {
    let failed = |name: &str, e: io::Error| Error::new("read", format!("credential {prefix:?} from {}", path.join(name).display()), io_text(&e));
    let mut names: Vec<CString> = Vec::new();
    for entry in Dir::read_from(&directory).map_err(|e| failed("", e.into()))? {
        let entry = entry.map_err(|e| failed("", e.into()))?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.arrange();
    for name in names {
        let shown = name.to_string_lossy();
        let id = format!("{prefix}_{shown}");
        let stat = rustix::fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed(&shown, e.into()))?;
        let open = |more: OFlags| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
            rustix::fs::openat(&directory, &name, flags, Mode::empty()).map_err(|e| failed(&shown, e.into()))
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if depth < DEPTH_MAX => from_directory(out, &id, &path.join(&*shown), open(OFlags::DIRECTORY)?, depth + 1)?,
            FileType::RegularFile => add(out, &id, read_bounded(open(OFlags::empty())?).map_err(|e| failed(&shown, e))?)?,
            _ => {}
        }
    }
    Ok(())
}

/// Connects to a stream socket, however long its path.
fn connect(path: &Path) -> io::Result<OwnedFd> {
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let stream = UnixStream::connect(format!("/proc/self/fd/{}", place.as_fd().as_raw_fd()))?;
    stream.set_read_timeout(Some(SILENCE))?;
    Ok(stream.into())
}

fn read_bounded(from: OwnedFd) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    std::fs::File::from(from).take(Credential::MAX as u64 + 1).read_to_end(&mut content)?;
    if content.len() > Credential::MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn wanted(id: &str, source: CredentialSource) -> Credential {
        Credential { id: id.into(), source }
    }
    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("hostel-credentials-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn files_directories_sockets_and_stores() {
        let dir = scratch("kinds");
        std::fs::create_dir_all(dir.join("d/sub")).unwrap();
        std::fs::write(dir.join("file"), b"a\0b").unwrap();
        std::fs::write(dir.join("d/two"), b"2").unwrap();
        std::fs::write(dir.join("d/sub/one"), b"1").unwrap();
        std::os::unix::fs::symlink("/etc/shadow", dir.join("d/link")).unwrap();
        let listener = UnixListener::bind(dir.join("socket")).unwrap();
        let server = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"from a socket").unwrap());
        let loaded = load(&[
            wanted("v", CredentialSource::Bytes(b"x".to_vec())),
            wanted("f", CredentialSource::Path(dir.join("file"))),
            wanted("d", CredentialSource::Path(dir.join("d"))),
            wanted("s", CredentialSource::Path(dir.join("socket"))),
            wanted("n", CredentialSource::Stored { name: "file".into(), directories: vec![dir.join("none"), dir.clone()] }),
        ])
        .unwrap();
        server.join().unwrap();
        let seen: Vec<(&str, &[u8])> = loaded.iter().map(|l| (l.id.to_str().unwrap(), l.content.as_slice())).collect();
        let expected: [(&str, &[u8]); 6] =
            [("v", b"x"), ("f", b"a\0b"), ("d_sub_one", b"1"), ("d_two", b"2"), ("s", b"from a socket"), ("n", b"a\0b")];
        assert_eq!(seen, expected);
        assert!(!format!("{loaded:?}").contains("socket\""), "contents are not shown");
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn refusals() {
        let dir = scratch("refusals");
        std::fs::write(dir.join("big"), vec![0; Credential::MAX + 1]).unwrap();
        std::fs::create_dir(dir.join("d")).unwrap();
        std::fs::write(dir.join("d/b"), b"").unwrap();
        let said = |list: &[Credential]| load(list).unwrap_err().to_string();
        let path = |name: &str| CredentialSource::Path(dir.join(name));
        assert!(said(&[wanted("a", path("missing"))]).ends_with("No such file or directory"));
        assert!(said(&[wanted("a", path("big"))]).ends_with("it is larger than 1 MiB"));
        assert!(said(&[wanted("a", CredentialSource::Path("/dev/zero".into()))]).ends_with("it is larger than 1 MiB"));
        let both = [wanted("a_b", CredentialSource::Bytes(Vec::new())), wanted("a", path("d"))];
        assert_eq!(said(&both), "pass credential \"a_b\": there are two of this name");
        let none = CredentialSource::Stored { name: "x".into(), directories: vec![dir.clone()] };
        assert!(said(&[wanted("a", none)]).starts_with("find credential \"x\": none of "));
        let many: Vec<_> = (0..17).map(|n| wanted(&format!("c{n}"), CredentialSource::Bytes(vec![0; Credential::MAX]))).collect();
        assert!(said(&many).ends_with("larger than 16 MiB"));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
