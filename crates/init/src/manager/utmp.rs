//! UtmpIdentifier= and UtmpMode=: who is at which terminal, in the files that `who` and `last` read (utmp(5), pututxline(3)).
//!
//! Only files that are there are written, as everybody does with them.

use std::io::{Read, Seek, SeekFrom, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use hostel_sys::clone::WaitStatus;
use rustix::fs::{Mode, OFlags};

use crate::load::Settings;

const FILES: [&str; 2] = ["/run/utmp", "/var/log/wtmp"];
/// Larger ones are not looked through.
const SIZE_MAX: u64 = 1 << 20;

/// Size of a record, where its session is, its time, and how many bytes each number of that has (glibc: two of 32 bits where
/// programs of both sizes share the file).
#[cfg(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm"))]
const LAYOUT: (usize, usize, usize, usize) = (384, 336, 340, 4);
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "arm")))]
const LAYOUT: (usize, usize, usize, usize) = (400, 336, 344, 8);
const SIZE: usize = LAYOUT.0;

/// Kinds of records, in the order in which they follow each other.
const INIT: i16 = 5;
const LOGIN: i16 = 6;
const USER: i16 = 7;
const DEAD: i16 = 8;

/// What a unit asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// At most the last four bytes count.
    id: String,
    /// The last kind that is written at the start.
    until: i16,
}

impl Record {
    /// Reads the settings.
    pub fn of(s: &Settings, section: &str, complain: &mut dyn FnMut(String)) -> Option<Record> {
        let id = s.text(section, "UtmpIdentifier")?.to_owned();
        let until = match s.text(section, "UtmpMode") {
            None | Some("init") => INIT,
            Some("login") => LOGIN,
            Some("user") => USER,
            Some(text) => {
                complain(format!("UtmpMode={}: it is none of init, login, user, ignoring", hostel_unit::printable(text)));
                INIT
            }
        };
        Some(Record { id, until })
    }

    /// A process begins at a terminal; said by itself.
    pub fn begin(&self, terminal: &str, user: &str) {
        let line = terminal.strip_prefix("/dev/").unwrap_or(terminal);
        for kind in INIT..=self.until {
            self.put(&FILES, kind, std::process::id() as i32, (line, if kind == USER { user } else { "" }), (0, 0));
        }
    }

    /// It has ended.
    pub fn end(&self, pid: i32, end: WaitStatus) {
        let status = match end {
            WaitStatus::Exited(code) => (0, code),
            WaitStatus::Signaled { signal, .. } => (signal, 0),
            _ => (0, 0),
        };
        self.put(&FILES, DEAD, pid, ("", ""), status);
    }

    /// One record takes the place of the one with its id in the first file, and is the last of the second.
    fn put(&self, files: &[&str; 2], kind: i16, pid: i32, (line, user): (&str, &str), (signal, code): (i32, i32)) {
        let mut record = [0u8; SIZE];
        let id = self.id.as_bytes();
        let id = id.get(id.len().saturating_sub(4)..).unwrap_or_default();
        let mut own = [0u8; 4];
        own.iter_mut().zip(id).for_each(|(to, from)| *to = *from);
        // of one that ends the line stays, for those who look who is gone; one that is not there has not begun
        let line = if kind == DEAD {
            let Some(begun) = of_process(files[0], &own, pid) else { return };
            String::from_utf8_lossy(begun.get(8..40).unwrap_or_default()).trim_end_matches('\0').to_owned()
        } else {
            line.to_owned()
        };
        let mut put = |at: usize, bytes: &[u8], most: usize| {
            record.iter_mut().skip(at).zip(bytes.iter().take(most)).for_each(|(to, from)| *to = *from);
        };
        put(0, &kind.to_ne_bytes(), 2);
        put(4, &pid.to_ne_bytes(), 4);
        put(8, line.as_bytes(), 32);
        put(40, id, 4);
        put(44, user.as_bytes(), 32);
        put(332, &(signal as i16).to_ne_bytes(), 2);
        put(334, &(code as i16).to_ne_bytes(), 2);
        let session = if kind == DEAD { 0 } else { pid };
        put(LAYOUT.1, &session.to_ne_bytes(), 4);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // of 64 bits little-endian machines read 32 as well
        put(LAYOUT.2, &now.as_secs().to_le_bytes(), LAYOUT.3);
        put(LAYOUT.2 + LAYOUT.3, &u64::from(now.subsec_micros()).to_le_bytes(), LAYOUT.3);
        let _ = replace(files[0], &record);
        let _ = open(files[1], OFlags::WRONLY | OFlags::APPEND).and_then(|mut file| file.write_all(&record));
    }
}

/// Opens a file of records, which is nothing that could keep PID 1 waiting or lead elsewhere.
fn open(path: &str, flags: OFlags) -> std::io::Result<std::fs::File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::ErrorKind::InvalidInput.into()) }
}

/// The record of a process, as long as it is the one of that id.
fn of_process(path: &str, id: &[u8], pid: i32) -> Option<[u8; SIZE]> {
    let mut all = Vec::new();
    open(path, OFlags::RDONLY).ok()?.take(SIZE_MAX).read_to_end(&mut all).ok()?;
    let is_it = |old: &&[u8]| old.get(40..44) == Some(id) && old.get(4..8) == Some(&pid.to_ne_bytes());
    all.chunks_exact(SIZE).find(is_it)?.try_into().ok()
}

fn replace(path: &str, record: &[u8; SIZE]) -> std::io::Result<()> {
    let mut file = open(path, OFlags::RDWR)?;
    if file.metadata()?.len() > SIZE_MAX {
        return Ok(());
    }
    // somebody who holds it for ever is not waited for
    let _ = rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    let mut all = Vec::new();
    (&mut file).take(SIZE_MAX).read_to_end(&mut all)?;
    let is_same = |old: &[u8]| matches!(old.first(), Some(5..=8)) && old.get(40..44) == record.get(40..44);
    let at = all.chunks_exact(SIZE).position(is_same).unwrap_or(all.len() / SIZE);
    file.seek(SeekFrom::Start((at * SIZE) as u64))?;
    file.write_all(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let top = std::env::temp_dir().join(format!("hostel-utmp-{}", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        let paths = ["utmp", "wtmp"].map(|name| top.join(name).to_str().unwrap().to_owned());
        let files = [paths[0].as_str(), paths[1].as_str()];
        let record = |id: &str| Record { id: id.to_owned(), until: USER };
        record("tty1").put(&files, INIT, 7, ("tty1", ""), (0, 0));
        assert!(!top.join("utmp").exists() && !top.join("wtmp").exists(), "nothing is made");
        files.iter().for_each(|path| std::fs::write(path, "").unwrap());
        record("cons").put(&files, INIT, 7, ("console", ""), (0, 0));
        record("longer-tty2").put(&files, LOGIN, 8, ("tty2", ""), (0, 0));
        record("cons").put(&files, USER, 7, ("console", "root"), (0, 0));
        record("tty2").put(&files, DEAD, 8, ("", ""), (15, 0));
        record("cons").put(&files, DEAD, 9, ("", ""), (15, 0));
        let read = |path: &str| std::fs::read(path).unwrap();
        let (now, ever) = (read(files[0]), read(files[1]));
        assert_eq!((now.len(), ever.len()), (2 * SIZE, 4 * SIZE));
        let text = |all: &[u8], at: usize, from: usize, len: usize| {
            let bytes = &all[at * SIZE + from..at * SIZE + from + len];
            String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap()).into_owned()
        };
        assert_eq!((now[0], text(&now, 0, 8, 32), text(&now, 0, 40, 4), text(&now, 0, 44, 32)), (7, "console".into(), "cons".into(), "root".into()));
        assert_eq!((now[SIZE], now[SIZE + 4], text(&now, 1, 40, 4), now[SIZE + 332]), (8, 8, "tty2".into(), 15));
        assert_eq!([0, 1, 2, 3].map(|at| ever[at * SIZE]), [5, 6, 7, 8]);
        assert_eq!((text(&now, 1, 8, 32), text(&ever, 3, 8, 32)), ("tty2".into(), "tty2".into()), "who is gone from where");
        let seconds = u32::from_le_bytes(now[LAYOUT.2..LAYOUT.2 + 4].try_into().unwrap());
        assert!(seconds > 1_700_000_000);
        // never through a link
        std::fs::rename(files[1], top.join("other")).unwrap();
        std::os::unix::fs::symlink("other", files[1]).unwrap();
        record("cons").put(&files, INIT, 7, ("console", ""), (0, 0));
        assert_eq!(read(files[1]).len(), 4 * SIZE);
        std::fs::remove_dir_all(&top).unwrap();
    }
}
