//! journalctl(1), also `hostel journalctl`: the log that hostel init keeps, of this system, a tree, or a machine.
//!
//! One row per option (`options.rs`); which entries are wanted is `filter.rs`, how they look `show.rs`. There is no pager.

mod commands;
mod filter;
pub mod help;
pub(crate) mod options;
mod show;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use hostel_image::open::{self, Kind};
use hostel_init::journal::reader::{Cursor, Found, Reader, foreign, usual_directories};
use hostel_init::journal::store::{boot_id, realtime};
use hostel_init::manager::query::Request;
use hostel_init::root::Root;
use hostel_unit::zone::Zone;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::output;
use filter::Filter;
use options::{Action, Options};
use show::Show;

type Outcome = Result<u8, String>;

/// Bytes that are gathered before they are written.
const PIECE: usize = 64 << 10;

/// Runs `journalctl ARGS…`.
pub fn run(args: &[OsString]) -> ExitCode {
    ExitCode::from(status(args))
}

/// The same; its exit status.
pub(crate) fn status(args: &[OsString]) -> u8 {
    options::parse(args).and_then(|options| act(&options)).unwrap_or_else(|why| {
        output::tell(format_args!("{why}"));
        1
    })
}

fn act(options: &Options) -> Outcome {
    match &options.action {
        Action::Help => return Ok(output::show(&help::text())),
        Action::Version => return Ok(output::show(&super::version("journalctl"))),
        Action::Forms => return Ok(output::show(&options::FORMS.map(|(name, _)| format!("{name}\n")).concat())),
        Action::Facilities => return Ok(output::show(&options::facilities())),
        _ => {}
    }
    let is_here = options.directory.is_none() && options.root.is_none() && options.machine.is_none();
    if is_here && super::systemctl::systemd_runs() {
        return Err("systemd runs here, and hostel's journalctl does not read its journal: use systemd's own journalctl, or -D, --root= or -M for a log of hostel init.".to_owned());
    }
    match &options.action {
        Action::Nothing => return Ok(0),
        Action::Rotate => return commands::ask("rotate the log", Request::RotateLog),
        Action::Sync => return commands::ask("wait for the log", Request::Manager),
        _ => {}
    }
    if options.rotate {
        commands::ask("rotate the log", Request::RotateLog)?;
    }
    let (root, directories) = place(options)?;
    let mut reader = Reader::open(&root, &directories).map_err(|e| format!("Failed to open journal: {e}"))?;
    if reader.files.is_empty()
        && options.directory.is_none()
        && let Some((path, count)) = foreign(&root)
    {
        return Err(format!(
            "There is no log of hostel init here, only {count} files of systemd's journal, which are not read here ({path}).\nhint: the journalctl of that system reads them"
        ));
    }
    let zone = if options.utc { Zone::UTC } else { local_zone(&root) };
    match &options.action {
        Action::Boots => commands::list_boots(&mut reader, &zone),
        Action::Names => commands::names(&mut reader),
        Action::Values(field) => {
            let filter = filter_of(options, &mut reader, &zone, is_here)?;
            commands::values(&mut reader, &filter, field)
        }
        Action::Usage => commands::usage(&reader),
        Action::Verify => commands::verify(&reader),
        Action::Vacuum => commands::vacuum(&mut reader, options, realtime()),
        _ => entries(options, &mut reader, zone, is_here),
    }
}

/// The tree, and where in it the files are.
fn place(options: &Options) -> Result<(Root, Vec<String>), String> {
    let failed = |what: &std::path::Path, e: hostel_init::root::RootError| format!("Failed to open {}: {}", what.display(), e.cause);
    if let Some(path) = &options.directory {
        return Ok((Root::open(path).map_err(|e| failed(path, e))?, vec!["/".to_owned()]));
    }
    let root = match (&options.root, &options.machine) {
        (Some(path), _) => Root::open(path).map_err(|e| failed(path, e))?,
        (None, Some(name)) => machine(name)?,
        (None, None) => Root::host().map_err(|e| e.to_string())?,
    };
    Ok((root, usual_directories()))
}

/// The root of a machine that runs, or its tree.
fn machine(name: &OsString) -> Result<Root, String> {
    let name = crate::cli::look::name(name).map_err(|_| format!("{name:?} is no name of a machine."))?;
    let path = match crate::foreign::leader_for_files(&name) {
        Ok(leader) => std::path::PathBuf::from(format!("/proc/{}/root", leader.pid())),
        Err(why) => match open::find(&name) {
            Ok(open::Found { kind: Kind::Directory | Kind::Subvolume, path }) => path,
            // What a kept machine has written.
            Ok(open::Found { kind: Kind::KeptOverlay, path }) => path.join("upper"),
            _ => return Err(format!("Failed to open the log of machine {name}: {why}")),
        },
    };
    Root::open(&path).map_err(|e| format!("Failed to open the root of machine {name}: {e}"))
}

/// The zone in which times are shown and meant.
fn local_zone(root: &Root) -> Zone {
    let given = std::env::var("TZ").ok().filter(|name| !name.is_empty());
    let path = match given.as_deref().map(|name| name.trim_start_matches(':')) {
        Some(name) if !name.contains("..") => format!("/usr/share/zoneinfo/{name}"),
        _ => "/etc/localtime".to_owned(),
    };
    // no local time is UTC
    root.read(&path).ok().and_then(|bytes| Zone::parse(&bytes).ok()).unwrap_or(Zone::UTC)
}

fn filter_of(options: &Options, reader: &mut Reader<'_>, zone: &Zone, is_here: bool) -> Result<Filter, String> {
    let mut filter = Filter::of(options)?;
    let moment = |text: &String| hostel_unit::moment(text, realtime(), zone).map_err(|_| format!("Failed to parse timestamp: {text}"));
    filter.since = options.since.as_ref().map(moment).transpose()?;
    filter.until = options.until.as_ref().map(moment).transpose()?;
    if filter.since.zip(filter.until).is_some_and(|(since, until)| since > until) {
        return Err("--since= must be before --until=.".to_owned());
    }
    let cursor = |text: &str| Cursor::parse(text).ok_or_else(|| "Failed to seek to cursor: Invalid argument".to_owned());
    if let Some(text) = &options.cursor {
        filter.from = Some((cursor(text)?, true));
    }
    if let Some(text) = &options.after_cursor {
        filter.from = Some((cursor(text)?, false));
    }
    if let Some(path) = &options.cursor_file {
        match std::fs::read_to_string(path) {
            Ok(text) => filter.from = Some((cursor(&text)?, false)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(format!("Failed to read cursor file {}: {e}", path.display())),
        }
    }
    // the kernel's messages are those of this boot
    let wanted = options.boot.or(options.dmesg.then_some(options::Boot { id: None, offset: 0 }));
    if let Some(boot) = wanted {
        filter.boot = Some(find_boot(boot, reader, is_here)?);
    }
    Ok(filter)
}

/// The id of a boot that is meant.
fn find_boot(wanted: options::Boot, reader: &mut Reader<'_>, is_here: bool) -> Result<[u8; 16], String> {
    if is_here && wanted.offset == 0 && wanted.id.is_none_or(|id| id == boot_id()) {
        return Ok(boot_id());
    }
    let all = commands::boots(reader)?;
    let count = all.len() as i64;
    let at = match wanted.id {
        Some(id) => all.iter().position(|(boot, _, _)| *boot == id).map(|at| at as i64 + wanted.offset),
        // counted from the first one, or back from the last
        None if wanted.offset > 0 => Some(wanted.offset - 1),
        None => Some(count - 1 + wanted.offset),
    };
    let found = at.and_then(|at| usize::try_from(at).ok()).and_then(|at| all.get(at));
    found.map(|(boot, _, _)| *boot).ok_or_else(|| {
        let meant = wanted.id.map_or_else(|| format!("{:+}", wanted.offset), |id| id.iter().map(|b| format!("{b:02x}")).collect());
        format!("Data from the specified boot ({meant}) is not available: No such boot ID in journal")
    })
}

fn show_of(options: &Options, zone: Zone) -> Show {
    let terminal = std::io::stdout().is_terminal();
    Show {
        form: options.form,
        zone,
        host: !options.no_hostname,
        all: options.all,
        fields: options.fields.clone(),
        color: terminal && std::env::var_os("NO_COLOR").is_none() && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        width: options.shorten.then(|| output::terminal_width().unwrap_or(80)),
        last: None,
        quiet: options.quiet,
    }
}

/// What is shown, in pieces.
struct Printer {
    show: Show,
    out: Vec<u8>,
    count: usize,
    cursor: Option<String>,
    wants_cursor: bool,
    /// Nobody reads any more.
    gone: bool,
}

impl Printer {
    fn put(&mut self, found: &Found<'_>) {
        self.show.entry(&mut self.out, found);
        self.count += 1;
        if self.wants_cursor {
            self.cursor = Some(found.cursor());
        }
        if self.out.len() >= PIECE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.out.is_empty() {
            self.gone |= !output::write(&self.out).unwrap_or(false);
            self.out.clear();
        }
    }
}

fn entries(options: &Options, reader: &mut Reader<'_>, zone: Zone, is_here: bool) -> Outcome {
    let filter = filter_of(options, reader, &zone, is_here)?;
    if options.catalog && !options.quiet {
        output::tell(format_args!("--catalog has no effect: there is no catalogue of explanations here."));
    }
    if reader.files.is_empty() && !options.quiet {
        output::tell(format_args!("No journal files were found."));
    }
    let wants_cursor = options.show_cursor || options.cursor_file.is_some();
    let mut printer = Printer { show: show_of(options, zone), out: Vec::new(), count: 0, cursor: None, wants_cursor, gone: false };
    // what is written from here on is followed
    let tail = reader.tail().map_err(|e| e.to_string())?;
    let mut fail = walk(options, reader, &filter, &mut printer).err();
    printer.flush();
    if options.follow && fail.is_none() && !printer.gone {
        fail = follow(reader, tail, &filter, &mut printer).err();
    }
    if printer.count == 0 && !options.follow && !options.quiet && !is_for_programs(options) {
        printer.out.extend_from_slice(b"-- No entries --\n");
    }
    if let Some(cursor) = printer.cursor.take() {
        if options.show_cursor {
            printer.out.extend_from_slice(format!("-- cursor: {cursor}\n").as_bytes());
        }
        if let Some(path) = &options.cursor_file {
            std::fs::write(path, format!("{cursor}\n")).map_err(|e| format!("Failed to write cursor file {}: {e}", path.display()))?;
        }
    }
    printer.flush();
    // as grep
    let is_missed = options.grep.is_some() && printer.count == 0;
    fail.map_or(Ok(u8::from(is_missed)), Err)
}

fn is_for_programs(options: &Options) -> bool {
    use options::Form::{Export, Json, JsonPretty, JsonSeq, JsonSse};
    matches!(options.form, Export | Json | JsonPretty | JsonSeq | JsonSse)
}

/// The entries there are.
fn walk(options: &Options, reader: &mut Reader<'_>, filter: &Filter, printer: &mut Printer) -> Result<(), String> {
    let from_start = options.cursor.is_some() || options.after_cursor.is_some() || options.cursor_file.is_some() || options.since.is_some();
    let mut left = options.count().unwrap_or(usize::MAX);
    let result = match options.count() {
        Some(0) => return Ok(()),
        // from a place on it is the first entries that are wanted, as there
        Some(_) if options.reverse || !from_start || options.follow => {
            if !options.reverse {
                return last(left, reader, filter, printer);
            }
            reader.backward(&mut |found| {
                if filter.wants(found) {
                    printer.put(found);
                    left -= 1;
                }
                left > 0 && !printer.gone
            })
        }
        Some(_) => reader.forward(&mut |found| {
            if filter.wants(found) {
                printer.put(found);
                left -= 1;
            }
            left > 0 && !printer.gone
        }),
        None if options.reverse => reader.backward(&mut |found| {
            if filter.wants(found) {
                printer.put(found);
            }
            !printer.gone
        }),
        None => reader.forward(&mut |found| {
            if filter.wants(found) {
                printer.put(found);
            }
            !printer.gone
        }),
    };
    result.map_err(|e| e.to_string())
}

/// The last so many entries, the oldest first: counted from the end, then shown.
fn last(count: usize, reader: &mut Reader<'_>, filter: &Filter, printer: &mut Printer) -> Result<(), String> {
    let mut first: Option<(u128, u64)> = None;
    let mut left = count;
    let place = |found: &Found<'_>| (u128::from_be_bytes(found.header.series), found.entry.stamp.sequence);
    reader
        .backward(&mut |found| {
            if filter.wants(found) {
                first = Some(place(found));
                left -= 1;
            }
            left > 0
        })
        .map_err(|e| e.to_string())?;
    let Some(first) = first else { return Ok(()) };
    let mut begun = false;
    reader
        .forward(&mut |found| {
            begun |= place(found) == first;
            if begun && filter.wants(found) {
                printer.put(found);
            }
            !printer.gone
        })
        .map_err(|e| e.to_string())
}

/// Shows what comes, until nobody reads any more.
fn follow(reader: &mut Reader<'_>, mut tail: hostel_init::journal::reader::Tail, filter: &Filter, printer: &mut Printer) -> Result<(), String> {
    let mut watch: Option<OwnedFd> = None;
    loop {
        // before looking: what is written between the two is not missed
        if watch.is_none() {
            watch = reader.watch();
        }
        tail.more(reader, &mut |found| {
            if filter.wants(found) {
                printer.put(found);
            }
        })
        .map_err(|e| e.to_string())?;
        printer.flush();
        if printer.gone {
            return Ok(());
        }
        wait(watch.as_ref()).map_err(|e| format!("Failed to wait: {e}"))?;
        let hung_up = {
            let stdout = std::io::stdout();
            let mut fds = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::empty())];
            poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|n| n > 0)
                && fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
        };
        if hung_up {
            return Ok(());
        }
    }
}

/// Until files change, or for a while.
fn wait(watch: Option<&OwnedFd>) -> rustix::io::Result<()> {
    let pause = if watch.is_some() { Timespec { tv_sec: 2, tv_nsec: 0 } } else { Timespec { tv_sec: 0, tv_nsec: 200_000_000 } };
    let mut fds: Vec<PollFd<'_>> = watch.into_iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    match poll(&mut fds, Some(&pause)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(e) => return Err(e),
    }
    if let Some(watch) = watch {
        let mut events = [0u8; 4096];
        let mut any = false;
        while rustix::io::read(watch, &mut events).is_ok_and(|n| n > 0) {
            any = true;
        }
        if any {
            // entries come in bunches
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    Ok(())
}

/// The last entries of and about a unit, since this boot, for `systemctl status`.
pub(crate) fn tail_of(root: &Root, unit: &str, lines: usize, form: options::Form) -> String {
    if lines == 0 {
        return String::new();
    }
    let Ok(mut reader) = Reader::open(root, &usual_directories()) else { return String::new() };
    let mut filter = Filter::unit(unit);
    filter.boot = Some(boot_id());
    let options = Options { form, ..Options::default() };
    let mut printer =
        Printer { show: show_of(&options, local_zone(root)), out: Vec::new(), count: 0, cursor: None, wants_cursor: false, gone: false };
    // few: they are not written in pieces
    let lines = lines.min(10_000);
    let mut first = None;
    let mut left = lines;
    let place = |found: &Found<'_>| (u128::from_be_bytes(found.header.series), found.entry.stamp.sequence);
    let _ = reader.backward(&mut |found| {
        if filter.wants(found) {
            first = Some(place(found));
            left -= 1;
        }
        left > 0
    });
    let mut begun = false;
    let _ = reader.forward(&mut |found| {
        begun |= first == Some(place(found));
        if begun && filter.wants(found) {
            printer.show.entry(&mut printer.out, found);
        }
        true
    });
    String::from_utf8_lossy(&printer.out).into_owned()
}
