//! What tells of changes of some paths.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::{Spot, Wish};

/// An inotify instance and which of its watches are on which spot itself.
#[derive(Debug)]
pub struct Watch {
    fd: OwnedFd,
    /// Watch descriptor, the spot, and for what is above it which name leads to it.
    watches: Vec<(i32, usize, Option<String>)>,
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct News {
    /// Something that PathChanged= or PathModified= waits for.
    pub changed: bool,
    /// Something on the way came or went: the watches are to be set anew.
    pub moved: bool,
}

impl Watch {
    /// Watches these spots, and what leads to them as far as it is there.
    pub fn new(spots: &[Spot]) -> std::io::Result<Watch> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watch = Watch { fd, watches: Vec::new() };
        for (at, spot) in spots.iter().enumerate() {
            watch.add(at, spot)?;
        }
        Ok(watch)
    }

    fn add(&mut self, at: usize, spot: &Spot) -> std::io::Result<()> {
        // of a pattern: the directory before its first special character
        let path = match (spot.wish, spot.path.find(['*', '?', '['])) {
            (Wish::ExistsGlob, Some(end)) => spot.path.get(..end).and_then(|begin| begin.rsplit_once('/')).map_or("/", |(above, _)| above),
            _ => spot.path.trim_end_matches('/'),
        };
        let path = if path.is_empty() { "/" } else { path };
        let above =
            WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::MOVED_FROM | WatchFlags::DELETE | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
        let own = match spot.wish {
            Wish::Changed => above | WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB,
            Wish::Modified => above | WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB | WatchFlags::MODIFY,
            _ => above | WatchFlags::ATTRIB,
        };
        self.one(path, own, at, None)?;
        let mut part = path;
        while let Some((parent, name)) = part.rsplit_once('/').filter(|(_, name)| !name.is_empty()) {
            let parent = if parent.is_empty() { "/" } else { parent };
            self.one(parent, above, at, Some(name.to_owned()))?;
            part = parent;
        }
        Ok(())
    }

    fn one(&mut self, path: &str, flags: WatchFlags, at: usize, name: Option<String>) -> std::io::Result<()> {
        // several spots may be in one directory, whose watch is one
        match inotify::add_watch(&self.fd, path, flags | WatchFlags::MASK_ADD) {
            Ok(number) => self.watches.push((number, at, name)),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::ACCESS) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// Reads all that happened.
    pub fn news(&self, spots: &[Spot]) -> News {
        let mut news = News::default();
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.fd, &mut buffer);
        while let Ok(event) = reader.next() {
            let gone = event.events().intersects(ReadFlags::MOVE_SELF | ReadFlags::DELETE_SELF | ReadFlags::IGNORED | ReadFlags::QUEUE_OVERFLOW);
            news.moved |= gone;
            let came = event.file_name().and_then(|name| name.to_str().ok());
            for (_, at, leads) in self.watches.iter().filter(|(number, ..)| *number == event.wd()) {
                match leads {
                    Some(name) => news.moved |= came == Some(name.as_str()),
                    None => {
                        let wants = spots.get(*at).is_some_and(|spot| matches!(spot.wish, Wish::Changed | Wish::Modified));
                        news.changed |= wants && !event.events().intersects(ReadFlags::IGNORED);
                    }
                }
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(wish: Wish, path: &std::path::Path) -> Spot {
        Spot { wish, path: path.to_string_lossy().into_owned(), was_there: false }
    }

    #[test]
    fn tells_of_changes() {
        let top = std::env::temp_dir().join(format!("hostel-watch-{}", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        let file = top.join("a/b/file");
        let spots = [spot(Wish::Modified, &file)];
        let watch = Watch::new(&spots).unwrap();
        assert_eq!(watch.news(&spots), News::default());
        std::fs::write(top.join("other"), "x").unwrap();
        assert_eq!(watch.news(&spots), News::default(), "nothing on the way");
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        assert_eq!(watch.news(&spots), News { changed: false, moved: true });
        let watch = Watch::new(&spots).unwrap();
        std::fs::write(&file, "x").unwrap();
        assert!(watch.news(&spots).moved);
        let watch = Watch::new(&spots).unwrap();
        std::fs::write(&file, "y").unwrap();
        assert!(watch.news(&spots).changed);
        // of another wish a change is no news, but a look is
        let mut full = [spot(Wish::NotEmpty, &top.join("a"))];
        assert!(full[0].is_met(true, false));
        let watch = Watch::new(&full).unwrap();
        std::fs::write(top.join("a/x"), "").unwrap();
        assert!(!watch.news(&full).changed);
        std::fs::remove_dir_all(&top).unwrap();
        assert!(watch.news(&full).moved && !full[0].is_met(false, false));
    }
}
